"""The reports' baseline: SGD 0.01 with momentum 0.9 for 30 epochs, the rate never changed."""

train_cfg = dict(by_epoch=True, max_epochs=30, val_interval=1)
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='TrainableOptimWrapperConstructor',  # frozen parameters stay out of the optimizer
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0001),  # lr is for batches of 32
)
# The ImageNet schedule the reports inherited drops the rate at epochs 30, 60 and 90: never inside their 30 epochs.
param_scheduler = [dict(type='ConstantLR', factor=1.0)]
auto_scale_lr = dict(enable=False, base_batch_size=32)  # --auto-scale-lr: lr × batch size / 32
