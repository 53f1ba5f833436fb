"""What 'auto' becomes on machines of several kinds."""

import pytest
import torch

from flowercls.core.hardware import hardware_gains_from_bf16, resolve_channels_last, resolve_precision


def set_cpu(monkeypatch, **probes):
    for name in ('_is_avx512_bf16_supported', '_is_amx_tile_supported'):
        answer = probes.get(name, False)
        monkeypatch.setattr(torch.cpu, name, lambda answer=answer: answer, raising=False)


@pytest.mark.parametrize('probe', ['_is_avx512_bf16_supported', '_is_amx_tile_supported'])
def test_a_cpu_with_bf16_instructions_gains(monkeypatch, probe):
    set_cpu(monkeypatch, **{probe: True})
    assert hardware_gains_from_bf16('cpu')
    assert resolve_precision('auto', 'cpu') == 'bf16'


def test_a_cpu_without_them_does_not(monkeypatch):
    set_cpu(monkeypatch)
    assert resolve_precision('auto', 'cpu') == 'fp32'


def test_a_torch_without_the_probes_means_fp32(monkeypatch):
    for name in ('_is_avx512_bf16_supported', '_is_amx_tile_supported'):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert not hardware_gains_from_bf16('cpu')


@pytest.mark.parametrize(('capability', 'gains'), [((7, 5), False), ((8, 0), True), ((9, 0), True), ((12, 0), True)])
def test_gpus_gain_from_the_generation_that_has_bf16_units(monkeypatch, capability, gains):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda: capability)
    assert hardware_gains_from_bf16('cuda') == gains


def test_of_other_devices_nothing_is_promised():
    assert resolve_precision('auto', 'mps') == 'fp32'
    assert resolve_channels_last('auto', 'mps') is False


@pytest.mark.parametrize('value', ['bf16', 'fp32'])
def test_what_is_said_is_kept(monkeypatch, value):
    set_cpu(monkeypatch, _is_avx512_bf16_supported=value == 'fp32')
    assert resolve_precision(value, 'cpu') == value
    assert resolve_channels_last(False, 'cpu') is False
