"""MobileNetV2 on the five flowers from ImageNet weights made with TensorFlow: small, and quick on a CPU.

Run:     python tools/train.py configs/mobilenet_v2_flower.py --cfg-options load_from=PATH/mobilenet_v2_tf_in1k.pth
Expect:  see the README's results.
Differs: "SAME" padding and inputs in -1…1, as TensorFlow trains it; stem and two stages frozen; AdamW with warm-up
         and cosine decay; label smoothing, mixup and cutmix, for it overfits in few epochs without them.
         For the weights of OpenMMLab, which are downloaded: configs/mobilenet_v2_openmmlab_flower.py
"""

_base_ = [
    '_base_/models/mobilenet_v2.py',
    '_base_/datasets/flower_224.py',
    '_base_/schedules/adamw_warmup_cosine.py',
    '_base_/default_runtime.py',
]

model = dict(
    frozen_stages=2,
    # Pads right and bottom first; with ordinary padding these weights see every border shifted.
    backbone=dict(conv_cfg=dict(type='Conv2dAdaptivePadding')),
    head=dict(
        loss=dict(_delete_=True, type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
        cal_acc=False,  # mixed photos have several labels; training accuracy counts their shares
    ),
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.2), dict(type='CutMix', alpha=1.0)]),  # each in half the steps
)
train_cfg = dict(max_epochs=10)
# Mixed photos shift the batch-norm statistics; this hook computes them from unmixed ones.
custom_hooks = [dict(type='NormStatisticsHook')]
data_preprocessor = dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5])
load_from = 'mobilenet_v2_tf_in1k.pth'  # looked for here and in the folder FLOWERCLS_WEIGHTS
