auto_scale_lr = dict(base_batch_size=32, enable=False)
cache_dir = 'work_dirs/cache'
custom_imports = dict(imports=[
    'flowercls.registration',
])
data_manifest = '4e70170e072575be44cb8f79ecfe6b55edce65411691b553ceeb9094e315e557'
data_preprocessor = dict(
    mean=[
        123.675,
        116.28,
        103.53,
    ],
    num_classes=5,
    std=[
        58.395,
        57.12,
        57.375,
    ],
    to_rgb=True)
data_root = 'data/drawn_flower'
default_hooks = dict(
    checkpoint=dict(
        interval=1,
        max_keep_ckpts=2,
        rule='greater',
        save_best='accuracy/top1',
        type='WholeCheckpointHook'),
    logger=dict(interval=2, type='LoggerHook'),
    param_scheduler=dict(type='ParamSchedulerHook'),
    progress=dict(type='ProgressHook'),
    randomness=dict(type='CounterRandomnessHook'),
    results=dict(type='ResultsHook'),
    runtime_info=dict(type='LazyRuntimeInfoHook'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    sync_buffer=dict(type='SyncBuffersHook'),
    timer=dict(type='IterTimerHook'))
default_scope = 'mmpretrain'
drawn = dict(image_size=48, num_per_class=12, seed=0, val_ratio=0.25)
env_cfg = dict(
    cudnn_benchmark=False,
    dist_cfg=dict(backend='nccl'),
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0))
feature_cache = dict(budget='8GB', dtype='auto', views=0)
load_from = None
log_level = 'INFO'
model = dict(
    backbone=dict(
        base_channels=2,
        depth=18,
        num_stages=4,
        out_indices=(3, ),
        stem_channels=4,
        type='ResNet'),
    channels_last=False,
    frozen_stages=0,
    head=dict(
        cal_acc=True,
        in_channels=16,
        loss=dict(loss_weight=1.0, type='CrossEntropyLoss'),
        num_classes=5,
        topk=(1, ),
        type='LinearClsHead'),
    neck=dict(type='GlobalAveragePooling'),
    precision='fp32',
    type='StagedClassifier')
optim_wrapper = dict(
    constructor='TrainableOptimWrapperConstructor',
    optimizer=dict(lr=0.05, momentum=0.9, type='SGD', weight_decay=0.0001),
    type='OptimWrapper')
param_scheduler = [
    dict(
        begin=0,
        convert_to_iter_based=True,
        end=1,
        start_factor=0.1,
        type='LinearLR'),
    dict(
        T_max=1,
        begin=1,
        convert_to_iter_based=True,
        end=2,
        eta_min_ratio=0.01,
        type='CosineAnnealingLR'),
]
photo_cache = dict(budget='8GB')
randomness = dict(deterministic=False, seed=0)
resume = False
test_cfg = dict()
test_dataloader = dict(
    batch_size=8,
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        ann_file='val.txt',
        data_prefix='val_set',
        data_root='data/drawn_flower',
        metainfo=dict(classes=[
            'daisy',
            'dandelion',
            'rose',
            'sunflower',
            'tulip',
        ]),
        pipeline=[
            dict(type='LoadImage'),
            dict(
                transforms=[
                    dict(size=72, type='Resize'),
                    dict(size=64, type='CenterCrop'),
                ],
                type='TorchvisionTransforms'),
            dict(type='PackInputs'),
        ],
        type='ImageFolder'),
    num_workers=0,
    persistent_workers=False,
    pin_memory=False,
    sampler=dict(shuffle=False, type='DefaultSampler'))
test_evaluator = [
    dict(topk=(1, ), type='Accuracy'),
    dict(type='ClassificationReport'),
]
test_pipeline = [
    dict(type='LoadImage'),
    dict(
        transforms=[
            dict(size=72, type='Resize'),
            dict(size=64, type='CenterCrop'),
        ],
        type='TorchvisionTransforms'),
    dict(type='PackInputs'),
]
train_cfg = dict(by_epoch=True, max_epochs=2, val_interval=1)
train_dataloader = dict(
    batch_size=8,
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        ann_file='train.txt',
        data_prefix='training_set',
        data_root='data/drawn_flower',
        metainfo=dict(classes=[
            'daisy',
            'dandelion',
            'rose',
            'sunflower',
            'tulip',
        ]),
        pipeline=[
            dict(type='LoadImage'),
            dict(
                transforms=[
                    dict(
                        scale=(
                            0.5,
                            1.0,
                        ), size=64, type='RandomResizedCrop'),
                    dict(type='RandomHorizontalFlip'),
                ],
                type='TorchvisionTransforms'),
            dict(type='PackInputs'),
        ],
        type='ImageFolder'),
    num_workers=0,
    persistent_workers=False,
    pin_memory=False,
    sampler=dict(shuffle=True, type='CounterSampler'))
train_pipeline = [
    dict(type='LoadImage'),
    dict(
        transforms=[
            dict(scale=(
                0.5,
                1.0,
            ), size=64, type='RandomResizedCrop'),
            dict(type='RandomHorizontalFlip'),
        ],
        type='TorchvisionTransforms'),
    dict(type='PackInputs'),
]
val_cfg = dict()
val_dataloader = dict(
    batch_size=8,
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        ann_file='val.txt',
        data_prefix='val_set',
        data_root='data/drawn_flower',
        metainfo=dict(classes=[
            'daisy',
            'dandelion',
            'rose',
            'sunflower',
            'tulip',
        ]),
        pipeline=[
            dict(type='LoadImage'),
            dict(
                transforms=[
                    dict(size=72, type='Resize'),
                    dict(size=64, type='CenterCrop'),
                ],
                type='TorchvisionTransforms'),
            dict(type='PackInputs'),
        ],
        type='ImageFolder'),
    num_workers=0,
    persistent_workers=False,
    pin_memory=False,
    sampler=dict(shuffle=False, type='DefaultSampler'))
val_evaluator = [
    dict(topk=(1, ), type='Accuracy'),
    dict(type='ClassificationReport'),
]
visualizer = dict(
    type='UniversalVisualizer', vis_backends=[
        dict(type='ScalarsBackend'),
    ])
