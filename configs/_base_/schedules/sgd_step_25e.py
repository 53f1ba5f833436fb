"""Exercise 2 of reports A, C and D: SGD 0.001 with momentum 0.9 for 25 epochs, a tenth of the rate every 7 epochs.

C and D name the drops (epochs 7, 14 and 21), A only "StepLR". Weight decay is in none of them, so there is none.
"""

train_cfg = dict(by_epoch=True, max_epochs=25, val_interval=1)
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='TrainableOptimWrapperConstructor',  # frozen parameters stay out of the optimizer
    optimizer=dict(type='SGD', lr=0.001, momentum=0.9, weight_decay=0.0),  # lr is for batches of 32
)
param_scheduler = [dict(type='StepLR', step_size=7, gamma=0.1)]
auto_scale_lr = dict(enable=False, base_batch_size=32)  # --auto-scale-lr: lr × batch size / 32
