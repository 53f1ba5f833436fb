"""Report E: Adam 0.0001 for 50 epochs, the rate never changed; for batches of 64 (datasets/flower_224_report_e.py)."""

train_cfg = dict(by_epoch=True, max_epochs=50, val_interval=1)
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='TrainableOptimWrapperConstructor',  # frozen parameters stay out of the optimizer
    optimizer=dict(type='Adam', lr=0.0001),  # lr is for batches of 64
)
param_scheduler = [dict(type='ConstantLR', factor=1.0)]
auto_scale_lr = dict(enable=False, base_batch_size=64)  # --auto-scale-lr: lr × batch size / 64
