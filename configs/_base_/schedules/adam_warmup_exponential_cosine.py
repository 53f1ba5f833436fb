"""Report B: Adam, linear warm-up over 10 epochs, exponential decay to epoch 20, cosine to the end; gradients added up.

Its twelve cells ran 10 epochs and so never left the warm-up, and a note says so; its long run is
`train_cfg.max_epochs=40`. The report gives the three parts and their lengths; rates, decay and steps are ours.
"""

train_cfg = dict(by_epoch=True, max_epochs=10, val_interval=1)
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='TrainableOptimWrapperConstructor',  # frozen parameters stay out of the optimizer
    optimizer=dict(type='Adam', lr=0.0001),  # ours; at the end of the warm-up, for steps of 64 photos
    accumulative_counts=2,  # ours; one step of the optimizer for two batches of 32
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=10),  # start_factor is ours
    dict(type='ExponentialLR', gamma=0.9, begin=10, end=20),  # gamma is ours
    dict(type='CosineAnnealingLR', begin=20, eta_min_ratio=0.01),  # eta_min_ratio is ours: a share of lr
]
auto_scale_lr = dict(enable=False, base_batch_size=64)  # --auto-scale-lr: lr × batch size × accumulated batches / 64
