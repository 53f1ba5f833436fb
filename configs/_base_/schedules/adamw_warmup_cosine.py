"""AdamW with one epoch of linear warm-up, then cosine decay to a hundredth, 8 epochs in all.

The schedule follows `train_cfg.max_epochs`: change that and nothing else.
"""

train_cfg = dict(by_epoch=True, max_epochs=8, val_interval=1)
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='TrainableOptimWrapperConstructor',  # frozen parameters stay out of the optimizer
    optimizer=dict(type='AdamW', lr=0.0003, weight_decay=0.05),  # lr is for batches of 32
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=1, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', begin=1, eta_min_ratio=0.01, convert_to_iter_based=True),
]
auto_scale_lr = dict(enable=False, base_batch_size=32)  # --auto-scale-lr: lr × batch size / 32
