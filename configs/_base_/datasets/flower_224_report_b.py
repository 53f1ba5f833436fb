"""Augmentation "mixed" of report B: random crop, horizontal flip, random erasing; a new view of a photo each epoch.

The report names the transforms; all their values here, and what it means by "mixed" and "fixed", are ours.
"""

_base_ = ['flower_224.py']

train_pipeline = [
    dict(type='LoadImage'),
    dict(
        type='TorchvisionTransforms',
        transforms=[
            dict(type='Resize', size=256),  # ours
            dict(type='RandomCrop', size=224),
            dict(type='RandomHorizontalFlip', p=0.5),  # ours
            # Ours: in half the photos 2-20 % of the area, filled with the mean photo's colour: about 0 for the network.
            dict(type='RandomErasing', p=0.5, scale=(0.02, 0.2), ratio=(0.3, 3.3), value=[124, 116, 104]),
        ],
    ),
    dict(type='PackInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
