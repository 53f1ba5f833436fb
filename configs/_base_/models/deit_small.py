"""DeiT-S, 224 px, ImageNet weights of OpenMMLab (top-1 80.69 %)."""

model = dict(
    type='StagedClassifier',
    frozen_stages=0,  # 0 nothing; 1-4 the stem and the first N stages; 'all' everything but the last layer
    precision='auto',  # 'bf16' where the hardware gains from it, else 'fp32'
    channels_last='auto',  # the same question for the memory layout
    backbone=dict(type='VisionTransformer', arch='deit-small', img_size=224, patch_size=16),
    head=dict(
        type='VisionTransformerClsHead',  # num_classes: from classes.txt
        in_channels=384,
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        topk=(1,),
        cal_acc=True,  # training accuracy, batch by batch
    ),
)
# Pixels 0-255 in RGB order, as the weights were trained.
data_preprocessor = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
input_size = 224  # px, as the weights were trained; checked against the pipelines
load_from = 'https://download.openmmlab.com/mmclassification/v0/deit/deit-small_pt-4xb256_in1k_20220218-9425b9bb.pth'
