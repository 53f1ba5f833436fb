"""Any classification network of torchvision with its ImageNet weights; `model.backbone.arch` chooses it.

`input_size` follows from `arch`: 299 px for inception_v3, else 224 px. A warning names the size of larger weights.
The pixels are ImageNet's for every network; inception_v3 itself rescales them to the -1…1 of its weights.
"""

model = dict(
    type='StagedClassifier',
    frozen_stages=0,  # 0 nothing; 1-4 the stem and the first N stages; 'all' everything but the last layer
    precision='auto',  # 'bf16' where the hardware gains from it, else 'fp32'
    channels_last='auto',  # the same question for the memory layout
    backbone=dict(type='TorchvisionBackbone', arch='resnet18', weights='IMAGENET1K_V1'),  # load_from follows
    head=dict(
        type='ClsHead',  # the classification layer is in the backbone
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        topk=(1,),
        cal_acc=True,  # training accuracy, batch by batch
    ),
)
# Pixels 0-255 in RGB order, as the weights were trained.
data_preprocessor = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
