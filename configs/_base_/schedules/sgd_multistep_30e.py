"""The reports' baseline with a rate that drops inside the run: a tenth from epoch 15 on, a hundredth from 25 on.

The milestones do not follow `train_cfg.max_epochs`: set both. A note names milestones that the run never reaches.
"""

train_cfg = dict(by_epoch=True, max_epochs=30, val_interval=1)
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='TrainableOptimWrapperConstructor',  # frozen parameters stay out of the optimizer
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0001),  # lr is for batches of 32
)
param_scheduler = [dict(type='MultiStepLR', milestones=[15, 25], gamma=0.1)]  # milestones are ours
auto_scale_lr = dict(enable=False, base_batch_size=32)  # --auto-scale-lr: lr × batch size / 32
