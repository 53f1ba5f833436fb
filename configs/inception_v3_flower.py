"""InceptionV3 on the five flowers, trained as the ResNet-50 baseline: report A, table 3.

Run:     python tools/train.py configs/inception_v3_flower.py
Expect:  report A's single run on 568 photos: 95.60 % validation top-1.
Differs: the model, and photos of 299 px, as its weights were trained.
"""

_base_ = [
    '_base_/models/inception_v3.py',
    '_base_/datasets/flower_299.py',
    '_base_/schedules/sgd_constant_30e.py',
    '_base_/default_runtime.py',
]
