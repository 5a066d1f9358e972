"""The recorded exports of frameworks, each with what its file does not say."""

from __future__ import annotations

from typing import Any

# what each case of cases.json is, as overrides of its framework's preset
NO_FLOOR: dict[str, Any] = {"v_floor": None}
ZERO_NOW: dict[str, Any] = {"reset": "zero", "reset_timing": "immediate"}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "norse_conv_lifbox_noflat": ("norse", {}),
    "norse_mlp_iaf": ("norse", {}),
    "norse_mlp_lifbox": ("norse", {}),
    "rockpool_lif": ("rockpool", {}),
    "rockpool_lif_maxspk1": ("rockpool", {"max_spikes": 1}),
    "sinabs_iaf_default": ("sinabs", NO_FLOOR),
    "sinabs_iaf_minv": ("sinabs", {"v_floor": -1.0}),
    "sinabs_iaf_reset_zero": ("sinabs", {**NO_FLOOR, "reset": "zero", "spikes_per_step": "one"}),
    "sinabs_lif_vec_nonorm": ("sinabs", {}),
    "snntorch_conv_subtract_delay": ("snntorch", {}),
    "snntorch_conv_zero_delay": ("snntorch", {"reset": "zero"}),
    "snntorch_conv_zero_nodelay": ("snntorch", ZERO_NOW),
    "snntorch_rleaky_one2one": ("snntorch", ZERO_NOW),
    "snntorch_rleaky_zero_nodelay": ("snntorch", ZERO_NOW),
    "snntorch_rsynaptic_zero_delay": ("snntorch", {"reset": "zero"}),
    "snntorch_synaptic_mlp_default": ("snntorch", {}),
    "spikingjelly_bn_folded": ("spikingjelly", {}),
    "spikingjelly_conv_if": ("spikingjelly", {}),
    "spikingjelly_conv_lif_decay": ("spikingjelly", {}),
    "spikingjelly_conv_lif_nodecay": ("spikingjelly", {}),
    "spikingjelly_mlp_cubalif": ("spikingjelly", {}),
    "spikingjelly_residual_add": ("spikingjelly", {}),
}
