"""torchvision's inception_v3, 299 px, ImageNet weights of torchvision (top-1 77.29 %)."""

model = dict(
    type='StagedClassifier',
    frozen_stages=0,  # 0 nothing; 1-4 the stem and the first N stages; 'all' everything but the last layer
    precision='auto',  # 'bf16' where the hardware gains from it, else 'fp32'
    channels_last='auto',  # the same question for the memory layout
    # https://download.pytorch.org/models/inception_v3_google-0cc3c7bd.pth
    backbone=dict(type='TorchvisionBackbone', arch='inception_v3', weights='IMAGENET1K_V1'),
    head=dict(
        type='ClsHead',  # the classification layer is in the backbone
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        topk=(1,),
        cal_acc=True,  # training accuracy, batch by batch
    ),
)
# Pixels 0-255 in RGB order, as torchvision gives them; the network makes of them the -1…1 its weights were trained with.
data_preprocessor = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
input_size = 299  # px, as the weights were trained; checked against the pipelines
