"""What every run shares: names, hooks, logging, seeds."""

default_scope = 'mmpretrain'  # plain names ("ResNet", "LinearClsHead") are looked up in mmpretrain
custom_imports = dict(imports=['flowercls.registration'])  # makes flowercls' own names known there

default_hooks = dict(
    runtime_info=dict(type='LazyRuntimeInfoHook'),  # losses for the log, fetched only when they are logged
    timer=dict(type='IterTimerHook'),  # time per iteration, for the ETA
    logger=dict(type='LoggerHook', interval=10),  # lines in scalars.json and the log, every 10 iterations
    param_scheduler=dict(type='ParamSchedulerHook'),  # steps the learning rate
    sampler_seed=dict(type='DistSamplerSeedHook'),  # tells the sampler the epoch
    sync_buffer=dict(type='SyncBuffersHook'),  # several processes: one batch-norm state for all, before it is used
    randomness=dict(type='CounterRandomnessHook'),  # dropout and mixup depend on (seed, step) only
    progress=dict(type='ProgressHook'),  # the bar on a terminal, plain lines elsewhere, one summary an epoch
    results=dict(type='ResultsHook'),  # predictions_val.csv and metrics.json of the best epoch
    checkpoint=dict(
        type='WholeCheckpointHook',  # files appear whole or not at all; old ones go last
        interval=1,  # epochs
        max_keep_ckpts=2,
        save_best='accuracy/top1',
        rule='greater',
    ),
)

env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
visualizer = dict(type='UniversalVisualizer', vis_backends=[dict(type='ScalarsBackend')])
log_level = 'INFO'
resume = False
randomness = dict(seed=0, deterministic=False)  # the same seed: the same order, augmentation and result

# Photos are decoded once for all runs on a prepared folder. Larger ones are shrunk to a short side of 256 px, or what the
# pipelines ask for where that is more: about 0.26 MB a photo. Above the budget the same is made of their files in every
# epoch; with photo_cache = None they are taken as they are. What lies in cache_dir may be deleted whenever nothing runs.
photo_cache = dict(budget='8GB')
# With frozen stages: their output is kept for so many augmented views of each photo, and epochs and runs that share it
# no longer compute it. 'all': a view for each epoch, so nothing changes but the time. 0: nothing is kept.
feature_cache = dict(
    views='auto',  # 4 with frozen stages and no mixup or cutmix, else 0; configs/README.md has what it costs
    dtype='auto',  # as it is computed; or 'bf16', 'fp16', 'fp32'
    budget='8GB',  # if a run's features would take more, or half of what the disk has free, none are kept
)
cache_dir = 'work_dirs/cache'
