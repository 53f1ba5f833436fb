"""Augmentation of reports C and D, exercise 2: crop, flip, rotation, colour jitter, shear and scale; 4 loader workers.

The reports give the crop's size and the rotation's range; the other values are ours.
"""

_base_ = ['flower_224.py']

train_pipeline = [
    dict(type='LoadImage'),
    dict(
        type='TorchvisionTransforms',
        transforms=[
            dict(type='RandomResizedCrop', size=224, scale=(0.3, 1.0)),  # ours: share of the area kept
            dict(type='RandomHorizontalFlip', p=0.5),
            # Ours: borders of the mean photo's colour, after normalisation about 0.
            dict(type='RandomRotation', degrees=30, interpolation='bilinear', fill=[124, 116, 104]),
            dict(type='ColorJitter', brightness=0.2, contrast=0.2, saturation=0.2, hue=0.02),  # ours; hue in turns
            dict(
                type='RandomAffine',
                degrees=0,
                scale=(0.9, 1.1),  # ours
                shear=10,  # ours; degrees
                interpolation='bilinear',
                fill=[124, 116, 104],
            ),
        ],
    ),
    dict(type='PackInputs'),
]
train_dataloader = dict(num_workers=4, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(num_workers=4)
