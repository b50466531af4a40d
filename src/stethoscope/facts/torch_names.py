"""What torch's own layers and functions are called, and how many arguments the layers take; no file is asked here."""

from __future__ import annotations

from difflib import get_close_matches
from functools import lru_cache
from typing import NamedTuple

_OF = {
    "torch.nn": """
    AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveLogSoftmaxWithLoss AdaptiveMaxPool1d
    AdaptiveMaxPool2d AdaptiveMaxPool3d AlphaDropout attention AvgPool1d AvgPool2d AvgPool3d backends
    BatchNorm1d BatchNorm2d BatchNorm3d BCELoss BCEWithLogitsLoss Bilinear Buffer CELU ChannelShuffle
    CircularPad1d CircularPad2d CircularPad3d ConstantPad1d ConstantPad2d ConstantPad3d Container Conv1d Conv2d
    Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d CosineEmbeddingLoss CosineSimilarity CrossEntropyLoss
    CrossMapLRN2d common_types CTCLoss DataParallel DistributedDataParallel Dropout Dropout1d Dropout2d Dropout3d ELU
    Embedding EmbeddingBag FeatureAlphaDropout Flatten Fold FractionalMaxPool2d FractionalMaxPool3d functional
    GaussianNLLLoss GELU GLU grad GroupNorm GRU GRUCell Hardshrink Hardsigmoid Hardswish Hardtanh
    HingeEmbeddingLoss HuberLoss Identity init InstanceNorm1d InstanceNorm2d InstanceNorm3d intrinsic KLDivLoss
    L1Loss LayerNorm LazyBatchNorm1d LazyBatchNorm2d LazyBatchNorm3d LazyConv1d LazyConv2d LazyConv3d
    LazyConvTranspose1d LazyConvTranspose2d LazyConvTranspose3d LazyInstanceNorm1d LazyInstanceNorm2d
    LazyInstanceNorm3d LazyLinear LeakyReLU Linear LinearCrossEntropyLoss LinearCrossEntropyOptions
    LocalResponseNorm LogSigmoid LogSoftmax LPPool1d LPPool2d LPPool3d LSTM LSTMCell MarginRankingLoss MaxPool1d
    MaxPool2d MaxPool3d MaxUnpool1d MaxUnpool2d MaxUnpool3d Mish Module ModuleDict ModuleList modules MSELoss
    MultiheadAttention MultiLabelMarginLoss MultiLabelSoftMarginLoss MultiMarginLoss NLLLoss NLLLoss2d
    PairwiseDistance parallel Parameter parameter ParameterDict ParameterList PixelShuffle PixelUnshuffle PoissonNLLLoss
    PReLU qat quantizable quantized ReflectionPad1d ReflectionPad2d ReflectionPad3d ReLU ReLU6 ReplicationPad1d
    ReplicationPad2d ReplicationPad3d RMSNorm RNN RNNBase RNNCell RNNCellBase RReLU SELU Sequential Sigmoid SiLU
    SmoothL1Loss SoftMarginLoss Softmax Softmax2d Softmin Softplus Softshrink Softsign SyncBatchNorm Tanh
    Tanhshrink Threshold Transformer TransformerDecoder TransformerDecoderLayer TransformerEncoder
    TransformerEncoderLayer TripletMarginLoss TripletMarginWithDistanceLoss Unflatten Unfold UninitializedBuffer
    UninitializedParameter Upsample UpsamplingBilinear2d UpsamplingNearest2d utils ZeroPad1d ZeroPad2d ZeroPad3d
    """,
    "torch.nn.functional": """
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d
    adaptive_max_pool1d_with_indices adaptive_max_pool2d adaptive_max_pool2d_with_indices adaptive_max_pool3d
    adaptive_max_pool3d_with_indices affine_grid alpha_dropout assert_int_or_pair avg_pool1d avg_pool2d
    avg_pool3d batch_norm bilinear binary_cross_entropy binary_cross_entropy_with_logits celu celu_
    channel_shuffle conv1d conv2d conv3d conv_tbc conv_transpose1d conv_transpose2d conv_transpose3d
    cosine_embedding_loss cosine_similarity cross_entropy ctc_loss dropout dropout1d dropout2d dropout3d elu
    elu_ embedding embedding_bag feature_alpha_dropout fold fractional_max_pool2d
    fractional_max_pool2d_with_indices fractional_max_pool3d fractional_max_pool3d_with_indices
    gaussian_nll_loss gelu glu grad grid_sample group_norm grouped_mm gumbel_softmax hardshrink hardsigmoid
    hardswish hardtanh hardtanh_ hinge_embedding_loss huber_loss instance_norm interpolate kl_div l1_loss
    layer_norm leaky_relu leaky_relu_ linear linear_cross_entropy local_response_norm log_softmax logsigmoid
    lp_pool1d lp_pool2d lp_pool3d margin_ranking_loss max_pool1d max_pool1d_with_indices max_pool2d
    max_pool2d_with_indices max_pool3d max_pool3d_with_indices max_unpool1d max_unpool2d max_unpool3d mish
    mse_loss multi_head_attention_forward multi_margin_loss multilabel_margin_loss multilabel_soft_margin_loss
    native_channel_shuffle nll_loss nll_loss2d normalize one_hot pad pairwise_distance pdist pixel_shuffle
    pixel_unshuffle poisson_nll_loss prelu relu relu6 relu_ rms_norm rrelu rrelu_ scaled_dot_product_attention
    scaled_grouped_mm scaled_mm selu selu_ sigmoid silu smooth_l1_loss soft_margin_loss softmax softmin softplus
    softshrink softsign tanh tanhshrink threshold threshold_ triplet_margin_loss
    triplet_margin_with_distance_loss unfold upsample upsample_bilinear upsample_nearest
    """,
    "torch.optim": """
    Adadelta adadelta Adafactor Adagrad adagrad Adam adam Adamax adamax AdamW adamw ASGD asgd LBFGS lbfgs
    lr_scheduler Muon NAdam nadam Optimizer optimizer RAdam radam RMSprop rmsprop Rprop rprop SGD sgd
    sparse_adam SparseAdam swa_utils swap_in_optimizer_params_and_state
    """,
}
"""Names of torch 2.13, and those that it had before."""
KNOWN = {module: frozenset(names.split()) for module, names in _OF.items()}
_CLOSE = 0.87
"""Share of two names that is the same, from which one is taken to be the other, misspelt."""
_LONG = 8
"""Letters of a name that another one hardly differs from by chance: `RAdamW` may be an optimizer of the next torch."""


@lru_cache(maxsize=2_000)
def is_slip(name: str) -> bool:
    """Whether torch does not have this full name, and surely has the one that is meant: `torch.nn.BathNorm2d`.

    Never of a name that is merely unknown: torch gains and loses some with each version.
    """
    module, _, last = name.rpartition(".")
    known = KNOWN.get(module, frozenset())
    if not known or last in known or last.startswith("_") or last.endswith("_"):
        return False
    if any(one.lower() == last.lower() or _is_swapped(one, last) for one in known):
        return True
    alike = [one for one in known if _digits(one) == _digits(last)] if len(last) >= _LONG else []
    return bool(get_close_matches(last, alike, 1, _CLOSE))


def _is_swapped(one: str, other: str) -> bool:
    """Whether two neighbours changed their places."""
    if len(one) != len(other):
        return False
    places = [place for place, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]
    if len(places) != 2 or places[1] - places[0] != 1:
        return False
    first, second = places
    return one[first] == other[second] and one[second] == other[first]


def _digits(name: str) -> str:
    return "".join(one for one in name if one.isdigit())


class Takes(NamedTuple):
    """What the constructor of a layer, or a function, takes."""

    required: tuple[str, ...]
    most: int
    """Arguments without a keyword."""
    named: frozenset[str]
    """All keywords."""


_TAKEN = (
    ("", "alpha inplace", "CELU ELU"),
    ("", "approximate", "GELU"),
    ("", "beta threshold", "Softplus"),
    ("", "blank reduction zero_infinity", "CTCLoss"),
    ("",
     ("d_model nhead num_encoder_layers num_decoder_layers dim_feedforward dropout activation "
     "custom_encoder custom_decoder layer_norm_eps batch_first norm_first bias device dtype"),
     "Transformer"),
    ("", "dim", "GLU LogSoftmax Softmax Softmin"),
    ("", "dim eps", "CosineSimilarity"),
    ("", "inplace", "Hardsigmoid Hardswish Mish ReLU ReLU6 SELU SiLU"),
    ("", "lambd", "Hardshrink Softshrink"),
    ("", "log_input full size_average eps reduce reduction", "PoissonNLLLoss"),
    ("", "lower upper inplace", "RReLU"),
    ("", "margin p eps swap size_average reduce reduction", "TripletMarginLoss"),
    ("", "margin size_average reduce reduction", "CosineEmbeddingLoss HingeEmbeddingLoss MarginRankingLoss"),
    ("", "modules", "ModuleDict ModuleList"),
    ("", "negative_slope inplace", "LeakyReLU"),
    ("", "num_parameters init device dtype", "PReLU"),
    ("", "p eps keepdim", "PairwiseDistance"),
    ("", "p inplace", "AlphaDropout Dropout Dropout1d Dropout2d Dropout3d FeatureAlphaDropout"),
    ("", "p margin weight size_average reduce reduction", "MultiMarginLoss"),
    ("", "reduction delta", "HuberLoss"),
    ("", "size scale_factor", "UpsamplingBilinear2d UpsamplingNearest2d"),
    ("", "size scale_factor mode align_corners recompute_scale_factor", "Upsample"),
    ("", "size_average reduce reduction", "L1Loss MSELoss MultiLabelMarginLoss SoftMarginLoss"),
    ("", "size_average reduce reduction beta", "SmoothL1Loss"),
    ("", "size_average reduce reduction log_target", "KLDivLoss"),
    ("", "start_dim end_dim", "Flatten"),
    ("", "weight size_average ignore_index reduce reduction", "NLLLoss"),
    ("", "weight size_average ignore_index reduce reduction label_smoothing", "CrossEntropyLoss"),
    ("", "weight size_average reduce reduction", "BCELoss MultiLabelSoftMarginLoss"),
    ("", "weight size_average reduce reduction pos_weight", "BCEWithLogitsLoss"),
    ("downscale_factor", "", "PixelUnshuffle"),
    ("groups", "", "ChannelShuffle"),
    ("kernel_size", "dilation padding stride", "Unfold"),
    ("kernel_size", "output_size output_ratio return_indices _random_samples",
     "FractionalMaxPool2d FractionalMaxPool3d"),
    ("kernel_size", "stride padding", "MaxUnpool1d MaxUnpool2d MaxUnpool3d"),
    ("kernel_size", "stride padding ceil_mode count_include_pad", "AvgPool1d"),
    ("kernel_size", "stride padding ceil_mode count_include_pad divisor_override", "AvgPool2d AvgPool3d"),
    ("kernel_size", "stride padding dilation return_indices ceil_mode", "MaxPool1d MaxPool2d MaxPool3d"),
    ("normalized_shape", "eps elementwise_affine bias device dtype", "LayerNorm"),
    ("normalized_shape", "eps elementwise_affine device dtype", "RMSNorm"),
    ("num_features", "eps momentum affine track_running_stats device dtype * bias",
     "BatchNorm1d BatchNorm2d BatchNorm3d InstanceNorm1d InstanceNorm2d InstanceNorm3d"),
    ("num_features", "eps momentum affine track_running_stats process_group device dtype * bias", "SyncBatchNorm"),
    ("output_size", "", "AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d"),
    ("output_size", "return_indices", "AdaptiveMaxPool1d AdaptiveMaxPool2d AdaptiveMaxPool3d"),
    ("padding",
     "",
     ("CircularPad1d CircularPad2d CircularPad3d ReflectionPad1d ReflectionPad2d ReflectionPad3d "
     "ReplicationPad1d ReplicationPad2d ReplicationPad3d ZeroPad1d ZeroPad2d ZeroPad3d")),
    ("size", "alpha beta k", "LocalResponseNorm"),
    ("upscale_factor", "", "PixelShuffle"),
    ("d_model nhead", "dim_feedforward dropout activation layer_norm_eps batch_first norm_first bias device dtype",
     "TransformerDecoderLayer TransformerEncoderLayer"),
    ("decoder_layer num_layers", "norm", "TransformerDecoder"),
    ("dim unflattened_size", "", "Unflatten"),
    ("embed_dim num_heads", "dropout bias add_bias_kv add_zero_attn kdim vdim batch_first device dtype",
     "MultiheadAttention"),
    ("encoder_layer num_layers", "norm enable_nested_tensor mask_check", "TransformerEncoder"),
    ("in_features out_features", "bias device dtype", "Linear"),
    ("input_size hidden_size", "bias device dtype", "GRUCell LSTMCell"),
    ("input_size hidden_size", "bias nonlinearity device dtype", "RNNCell"),
    ("norm_type kernel_size", "stride ceil_mode", "LPPool1d LPPool2d LPPool3d"),
    ("num_embeddings embedding_dim",
     ("max_norm norm_type scale_grad_by_freq mode sparse _weight include_last_offset padding_idx "
     "device dtype"),
     "EmbeddingBag"),
    ("num_embeddings embedding_dim",
     "padding_idx max_norm norm_type scale_grad_by_freq sparse _weight _freeze device dtype",
     "Embedding"),
    ("num_groups num_channels", "eps affine device dtype * bias", "GroupNorm"),
    ("output_size kernel_size", "dilation padding stride", "Fold"),
    ("padding value", "", "ConstantPad1d ConstantPad2d ConstantPad3d"),
    ("threshold value", "inplace", "Threshold"),
    ("in1_features in2_features out_features", "bias device dtype", "Bilinear"),
    ("in_channels out_channels kernel_size", "stride padding dilation groups bias padding_mode device dtype",
     "Conv1d Conv2d Conv3d"),
    ("in_channels out_channels kernel_size",
     "stride padding output_padding groups bias dilation padding_mode device dtype",
     "ConvTranspose1d ConvTranspose2d ConvTranspose3d"),
    ("in_features n_classes cutoffs", "div_value head_bias device dtype", "AdaptiveLogSoftmaxWithLoss"),
)  # fmt: skip
"""What layers cannot be made without, what else they may be given, behind a `*` by keyword alone, and which do so.

Of torch 2.13: older ones take fewer. Left out is what takes any arguments, and what has changed what it must be given.
"""


def _takes(required: str, others: str) -> Takes:
    first, last = required.split(), others.replace("*", " ").split()
    places = len(first) + len(others.partition("*")[0].split())
    return Takes(tuple(first), places, frozenset(first + last))


TAKES = {f"torch.nn.{name}": _takes(required, others) for required, others, names in _TAKEN for name in names.split()}
_CALLED = (
    ("nn.utils.clip_grad_norm_", "parameters max_norm", "norm_type error_if_nonfinite foreach"),
    ("nn.utils.clip_grad_norm", "parameters max_norm", "norm_type error_if_nonfinite foreach"),
    ("nn.utils.clip_grad_value_", "parameters clip_value", "foreach"),
    ("nn.utils.parameters_to_vector", "parameters", ""),
    ("nn.utils.vector_to_parameters", "vec parameters", ""),
    ("nn.functional.binary_cross_entropy", "input target", "weight size_average reduce reduction"),
    ("nn.functional.binary_cross_entropy_with_logits", "input target",
     "weight size_average reduce reduction pos_weight"),
    ("nn.functional.cross_entropy", "input target",
     "weight size_average ignore_index reduce reduction label_smoothing"),
    ("nn.functional.kl_div", "input target", "size_average reduce reduction log_target"),
    ("nn.functional.l1_loss", "input target", "size_average reduce reduction weight"),
    ("nn.functional.mse_loss", "input target", "size_average reduce reduction weight"),
    ("nn.functional.nll_loss", "input target", "weight size_average ignore_index reduce reduction"),
    ("nn.functional.smooth_l1_loss", "input target", "size_average reduce reduction beta"),
    ("nn.functional.log_softmax", "input", "dim _stacklevel dtype"),
    ("nn.functional.softmax", "input", "dim _stacklevel dtype"),
    ("nn.functional.dropout", "input", "p training inplace"),
    ("nn.functional.relu", "input", "inplace"),
)  # fmt: skip
"""Functions, what they must be given, and what they may be."""
TAKES |= {f"torch.{name}": _takes(required, others) for name, required, others in _CALLED}
TAKE_ONE_TENSOR = frozenset(
    f"torch.nn.{name}"
    for name in """
    AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d AdaptiveMaxPool3d
    AlphaDropout AvgPool1d AvgPool2d AvgPool3d BatchNorm1d BatchNorm2d BatchNorm3d CELU ChannelShuffle ConstantPad1d
    ConstantPad2d ConstantPad3d Conv1d Conv2d Conv3d Dropout Dropout1d Dropout2d Dropout3d ELU Embedding
    FeatureAlphaDropout Flatten Fold GELU GLU GroupNorm Hardshrink Hardsigmoid Hardswish Hardtanh Identity
    InstanceNorm1d InstanceNorm2d InstanceNorm3d LayerNorm LeakyReLU Linear LocalResponseNorm LogSigmoid LogSoftmax
    LPPool1d LPPool2d LPPool3d MaxPool1d MaxPool2d MaxPool3d Mish PixelShuffle PixelUnshuffle PReLU ReflectionPad1d
    ReflectionPad2d ReflectionPad3d ReLU ReLU6 ReplicationPad1d ReplicationPad2d ReplicationPad3d RMSNorm RReLU SELU
    Sequential Sigmoid SiLU Softmax Softmax2d Softmin Softplus Softshrink Softsign SyncBatchNorm Tanh Tanhshrink
    Threshold Unflatten Unfold Upsample UpsamplingBilinear2d UpsamplingNearest2d ZeroPad1d ZeroPad2d ZeroPad3d
    """.split()  # noqa: SIM905 - nobody could read it as a list
)
"""Layers whose call takes one tensor and nothing else."""
