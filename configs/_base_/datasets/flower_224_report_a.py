"""Augmentation of report A, exercise 2: flips both ways, rotation, crop, colour jitter.

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
            dict(type='RandomVerticalFlip', p=0.5),  # ours
            # Ours: the angle; before the crop, which leaves little of the border; that in the mean photo's colour.
            dict(type='RandomRotation', degrees=15, interpolation='bilinear', fill=[124, 116, 104]),
            dict(type='RandomCrop', size=224),
            dict(type='ColorJitter', brightness=0.2, contrast=0.2, saturation=0.2, hue=0.02),  # ours; hue in turns
        ],
    ),
    dict(type='PackInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
