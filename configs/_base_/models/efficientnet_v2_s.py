"""EfficientNetV2-S, 384 px, ImageNet weights of OpenMMLab (top-1 83.82 %)."""

model = dict(
    type='StagedClassifier',
    frozen_stages=0,  # 0 nothing; 1-4 the stem and the first N stages; 'all' everything but the last layer
    precision='auto',  # 'bf16' where the hardware gains from it, else 'fp32'
    channels_last='auto',  # the same question for the memory layout
    backbone=dict(type='EfficientNetV2', arch='s'),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',  # num_classes: from classes.txt
        in_channels=1280,
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        topk=(1,),
        cal_acc=True,  # training accuracy, batch by batch
    ),
)
# Pixels 0-255 in RGB order, as the weights were trained.
data_preprocessor = dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5], to_rgb=True)
input_size = 384  # px, as the weights were tested (trained at 300); checked against the pipelines
load_from = 'https://download.openmmlab.com/mmclassification/v0/efficientnetv2/efficientnetv2-s_3rdparty_in1k_20221220-f0eaff9d.pth'
