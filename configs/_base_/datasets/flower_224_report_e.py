"""Augmentation of report E: horizontal flip, random crop, colour jitter; batches of 64.

The report names the transforms; all their values here are ours.
"""

_base_ = ['flower_224.py']

train_pipeline = [
    dict(type='LoadImage'),
    dict(
        type='TorchvisionTransforms',
        transforms=[
            dict(type='Resize', size=256),  # ours
            dict(type='RandomHorizontalFlip', p=0.5),  # ours
            dict(type='RandomCrop', size=224),
            dict(type='ColorJitter', brightness=0.2, contrast=0.2, saturation=0.2, hue=0.02),  # ours; hue in turns
        ],
    ),
    dict(type='PackInputs'),
]
train_dataloader = dict(batch_size=64, dataset=dict(pipeline=train_pipeline))
