"""MobileNetV2 on the five flowers from the weights of OpenMMLab, which are downloaded.

Run:     python tools/train.py configs/mobilenet_v2_openmmlab_flower.py
Expect:  not measured here; another author's single run on 572 photos: 95.28 % validation top-1.
Differs: from configs/mobilenet_v2_flower.py in padding, normalisation and weights.
"""

_base_ = [
    '_base_/models/mobilenet_v2.py',
    '_base_/datasets/flower_224.py',
    '_base_/schedules/adamw_warmup_cosine.py',
    '_base_/default_runtime.py',
]

model = dict(head=dict(loss=dict(_delete_=True, type='LabelSmoothLoss', label_smooth_val=0.1, mode='original')))
