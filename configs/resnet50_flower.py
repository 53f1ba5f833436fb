"""ResNet-50 fine-tuned on the five flowers: the baseline of the course reports.

Run:     python tools/train.py configs/resnet50_flower.py
Expect:  96 % validation top-1 (the reports' single runs on 568 photos: 95.6-96.1 %).
Differs: nothing but the crop in training, which keeps at least 30 % of a photo; the reports inherited 8 %, which is
         meant for training from scratch: train_dataloader.dataset.pipeline.1.transforms.0.scale=[0.08,1.0]
Sweep:   --cfg-options model.frozen_stages=3 optim_wrapper.optimizer.lr=0.001
"""

_base_ = [
    '_base_/models/resnet50.py',
    '_base_/datasets/flower_224.py',
    '_base_/schedules/sgd_constant_30e.py',
    '_base_/default_runtime.py',
]
