"""The whole job on drawn flowers: a small ResNet from scratch, on two CPU cores in under two minutes.

Run:     python tools/train.py configs/demo_flower.py
Expect:  at least 90 % validation top-1.
Differs: 400 flowers are drawn and prepared first; 64 px; a ResNet-18 of quarter width without starting weights.
"""

_base_ = ['_base_/schedules/sgd_warmup_cosine.py', '_base_/default_runtime.py']

data_root = 'data/drawn_flower'
drawn = dict(num_per_class=80, seed=0)  # drawn at the first run, in a folder named drawn... that does not exist

model = dict(
    type='StagedClassifier',
    frozen_stages=0,
    precision='fp32',
    channels_last='auto',
    backbone=dict(type='ResNet', depth=18, stem_channels=16, base_channels=16, num_stages=4, out_indices=(3,)),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        in_channels=128,
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        topk=(1,),
        cal_acc=True,
    ),
)
data_preprocessor = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)

train_pipeline = [
    dict(type='LoadImage'),
    dict(
        type='TorchvisionTransforms',
        transforms=[dict(type='RandomResizedCrop', size=64, scale=(0.5, 1.0)), dict(type='RandomHorizontalFlip')],
    ),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImage'),
    dict(type='TorchvisionTransforms', transforms=[dict(type='Resize', size=72), dict(type='CenterCrop', size=64)]),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=32,
    num_workers=2,
    dataset=dict(type='ImageFolder', ann_file='train.txt', data_prefix='training_set', pipeline=train_pipeline),
    sampler=dict(type='CounterSampler', shuffle=True),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=2,
    dataset=dict(type='ImageFolder', ann_file='val.txt', data_prefix='val_set', pipeline=test_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
val_evaluator = [dict(type='Accuracy', topk=(1,)), dict(type='ClassificationReport')]
val_cfg = dict()
train_cfg = dict(max_epochs=20)
optim_wrapper = dict(optimizer=dict(lr=0.05))  # from scratch, in few steps: higher than for fine-tuning
