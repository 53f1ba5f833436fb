"""What every run shares: names, hooks, logging, seeds. A config that leaves one of these out gets it from here."""

default_scope = 'mmpretrain'  # where plain names ("ResNet", "LinearClsHead") are looked up
custom_imports = dict(imports=['flowercls.registration'])  # registers flowercls' own names there

default_hooks = dict(
    runtime_info=dict(type='LazyRuntimeInfoHook'),  # losses for the log, copied from the device only when logged
    timer=dict(type='IterTimerHook'),  # time per iteration, for the ETA
    logger=dict(type='LoggerHook', interval=10),  # lines in scalars.json and the log, every 10 iterations
    param_scheduler=dict(type='ParamSchedulerHook'),  # steps the learning rate
    sampler_seed=dict(type='DistSamplerSeedHook'),  # tells the sampler the epoch
    sync_buffer=dict(type='SyncBuffersHook'),  # averages batch-norm statistics over processes before validation
    randomness=dict(type='CounterRandomnessHook'),  # dropout and mixup depend on (seed, step) only
    progress=dict(type='ProgressHook'),  # the bar on a terminal, plain lines elsewhere, one summary an epoch
    results=dict(type='ResultsHook'),  # predictions_val.csv and metrics.json of the best epoch
    checkpoint=dict(
        type='WholeCheckpointHook',  # writes files atomically; removes old ones last
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

# Once trained: from which confidence on this share of the answers is right, see calibration.json. None leaves it out.
calibration = dict(precision=0.99)
# Photos are decoded once for all runs on a prepared folder, and larger ones are shrunk: about 0.26 MB a photo. Above the
# budget the same pixels are made from the files in every epoch. photo_cache = None uses the files as they are.
photo_cache = dict(budget='8GB')
# The output of frozen stages is cached for some augmented views of each photo, and epochs and runs share it.
feature_cache = dict(
    views='auto',  # 4 with frozen stages and without mixup or cutmix, else 0; 'all': one view for each epoch; 0: no cache
    dtype='auto',  # as the stages compute; or 'bf16', 'fp16', 'fp32'
    budget='8GB',  # nothing is cached above the budget
)
cache_dir = 'work_dirs/cache'  # may be deleted whenever nothing runs; configs/README.md says more
