"""A prepared folder (see tools/prepare_data.py) at 224 px, batches of 32, light augmentation: a crop and a flip.

`data_root` is the one thing to change for your own photos: class names and their number come from its classes.txt.
Name one of the files beside this one instead for another set of augmentations or another size.
"""

data_root = 'data/flower'

train_pipeline = [
    dict(type='LoadImage'),
    dict(
        type='TorchvisionTransforms',  # torchvision.transforms.v2 by name, with its arguments
        transforms=[
            dict(type='RandomResizedCrop', size=224, scale=(0.3, 1.0)),  # share of the area kept; ours
            dict(type='RandomHorizontalFlip', p=0.5),
        ],
    ),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImage'),
    dict(type='TorchvisionTransforms', transforms=[dict(type='Resize', size=256), dict(type='CenterCrop', size=224)]),
    dict(type='PackInputs'),
]

train_dataloader = dict(
    batch_size=32,
    num_workers=2,  # at most: on a CPU that draws from the photo cache, one for every four cores; changes no result
    dataset=dict(
        type='ImageFolder',
        ann_file='train.txt',
        data_prefix='training_set',
        pipeline=train_pipeline,
        views=None,  # a new augmented view of each photo every epoch; 1: the same for all epochs
    ),
    # Order = f(seed, epoch); balanced: each class equally often.
    sampler=dict(type='CounterSampler', shuffle=True, balanced=False),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=2,
    dataset=dict(type='ImageFolder', ann_file='val.txt', data_prefix='val_set', pipeline=test_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
val_evaluator = [dict(type='Accuracy', topk=(1,)), dict(type='ClassificationReport')]
val_cfg = dict()
# test_dataloader, test_evaluator and test_cfg: the test set where data_root has a test.txt, else the validation set.
