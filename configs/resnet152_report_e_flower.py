"""ResNet-152 on the five flowers as in report E: a new head, everything else frozen.

Run:     python tools/train.py configs/resnet152_report_e_flower.py
Expect:  report E's single run: 94.74 % validation top-1, in 6 min 12 s on an RTX 4090.
Differs: Adam 0.0001, batches of 64, 50 epochs; all but the classification layer stays as it was. The report freezes it
         "at first" and describes no later phase; to continue with all layers: --cfg-options model.frozen_stages=0
         load_from=work_dirs/resnet152_report_e_flower/best_accuracy_top1_epoch_N.pth
         Four views of each photo, whose features are cached, instead of a new one in each epoch (feature_cache.views=0).
"""

_base_ = [
    '_base_/models/resnet152.py',
    '_base_/datasets/flower_224_report_e.py',
    '_base_/schedules/adam_constant_50e.py',
    '_base_/default_runtime.py',
]

model = dict(frozen_stages='all')
