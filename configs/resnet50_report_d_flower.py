"""ResNet-50 on the five flowers as in exercise 1 of report D: half the baseline's learning rate, 20 epochs.

Run:     python tools/train.py configs/resnet50_report_d_flower.py
Expect:  report D's single run, 95.98 % validation top-1.
Differs: SGD 0.005 for 20 epochs.
"""

_base_ = [
    '_base_/models/resnet50.py',
    '_base_/datasets/flower_224.py',
    '_base_/schedules/sgd_constant_30e.py',
    '_base_/default_runtime.py',
]

train_cfg = dict(max_epochs=20)
optim_wrapper = dict(optimizer=dict(lr=0.005))
