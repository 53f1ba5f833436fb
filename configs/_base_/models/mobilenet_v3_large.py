"""MobileNetV3 large, 224 px, ImageNet weights of OpenMMLab (top-1 73.49 %)."""

model = dict(
    type='StagedClassifier',
    frozen_stages=0,  # 0 nothing; 1-4 the stem and the first N stages; 'all' everything but the last layer
    precision='auto',  # 'bf16' where the hardware gains from it, else 'fp32'
    channels_last='auto',  # the same question for the memory layout
    backbone=dict(type='MobileNetV3', arch='large'),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='StackedLinearClsHead',  # num_classes: from classes.txt
        in_channels=960,
        mid_channels=[1280],
        dropout_rate=0.2,
        act_cfg=dict(type='HSwish'),
        init_cfg=dict(type='Normal', layer='Linear', mean=0.0, std=0.01, bias=0.0),
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        topk=(1,),
        cal_acc=True,  # training accuracy, batch by batch
    ),
)
# Pixels 0-255 in RGB order, as the weights were trained.
data_preprocessor = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
input_size = 224  # px, as the weights were trained; checked against the pipelines
load_from = 'https://download.openmmlab.com/mmclassification/v0/mobilenet_v3/mobilenet-v3-large_8xb128_in1k_20221114-0ed9ed9a.pth'
