"""A prepared folder at 299 px, the size of InceptionV3, light augmentation; everything else as flower_224.py."""

_base_ = ['flower_224.py']

train_pipeline = [
    dict(type='LoadImage'),
    dict(
        type='TorchvisionTransforms',
        transforms=[
            dict(type='RandomResizedCrop', size=299, scale=(0.3, 1.0)),  # share of the area kept
            dict(type='RandomHorizontalFlip', p=0.5),
        ],
    ),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImage'),
    dict(type='TorchvisionTransforms', transforms=[dict(type='Resize', size=342), dict(type='CenterCrop', size=299)]),
    dict(type='PackInputs'),
]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
