"""ResNet-101, 224 px, ImageNet weights of OpenMMLab (top-1 77.97 %)."""

model = dict(
    type='StagedClassifier',
    frozen_stages=0,  # 0 nothing; 1-4 the stem and the first N stages; 'all' everything but the last layer
    precision='auto',  # 'bf16' where the hardware gains from it, else 'fp32'
    channels_last='auto',  # the same question for the memory layout
    backbone=dict(type='ResNet', depth=101, num_stages=4, out_indices=(3,), style='pytorch'),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',  # num_classes: from classes.txt
        in_channels=2048,
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        topk=(1,),
        cal_acc=True,  # training accuracy, batch by batch
    ),
)
# Pixels 0-255 in RGB order, as the weights were trained.
data_preprocessor = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
input_size = 224  # px, as the weights were trained; checked against the pipelines
load_from = 'https://download.openmmlab.com/mmclassification/v0/resnet/resnet101_8xb32_in1k_20210831-539c63f8.pth'
