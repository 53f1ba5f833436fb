"""A prepared folder for EfficientNetV2-S: trained at 300 px, tested at 384, light augmentation; else as flower_224.py.

Smaller photos in training see flowers as large as they are in the larger test photos (arXiv:1906.06423).
"""

_base_ = ['flower_224.py']

train_pipeline = [
    dict(type='LoadImage'),
    dict(
        type='TorchvisionTransforms',
        transforms=[
            dict(type='RandomResizedCrop', size=300, scale=(0.3, 1.0)),  # share of the area kept
            dict(type='RandomHorizontalFlip', p=0.5),
        ],
    ),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImage'),
    dict(type='TorchvisionTransforms', transforms=[dict(type='Resize', size=384), dict(type='CenterCrop', size=384)]),
    dict(type='PackInputs'),
]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
