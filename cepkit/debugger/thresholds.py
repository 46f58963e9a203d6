"""The numbers that turn a measurement into a warning, each with the reason for its size.

The exact guidance of all six toys (inverse temperature 3, 25 steps) passes every one of them. The faults of the suite do not.
"""

# RMS of scale * guidance over RMS of the score at points of p_t: 0.4 to 1.6 on the toys at beta = 3, up to 5 at beta = 10.
RATIO_WARNING = 3.0
RATIO_ERROR = 10.0
RATIO_BESIDE_EXACT = 2.0  # with a truth, a large ratio is a fault only if the exact guidance has not nearly the same one

ZERO_SHARE = 1e-6  # a field below this share of the score changes nothing that a sampler could show

# The antisymmetric share of the Jacobian: 0 for a gradient, 1 for a rotation. Central differences of an exact field give 1e-6
# in float64 and below 0.02 in float32 with the larger step; a rotation of a tenth of the field gives about 0.1.
CURL_WARNING = 0.03
CURL_ERROR = 0.3
CURL_STEP_DOUBLE = 1e-4  # of the domain's half width; the truncation error is of its square
CURL_STEP_SINGLE = 1e-2  # float32 values carry seven digits, so the step must be larger
CURL_WIDER = 4.0  # the second step in float32, where a weak field of a network may drown in rounding with the first

GRADIENT_TOLERANCE = 0.02  # guidance and its own energy's gradient come from one formula: only rounding may separate them

# Error relative to the exact field (1 is as bad as none). Networks trained for half a minute reach 0.06, 0.2 at small t;
# the mean energy has 0.7.
TRUTH_NOTE = 0.15
TRUTH_WARNING = 0.3
TRUTH_ERROR = 0.9
NEGLIGIBLE_SHARE = 0.05  # a noise level whose exact guidance is below this share of the score does not decide

# A fitted factor explains a difference if what remains is small, and a known factor matches if it is this near in logarithm.
FACTOR_RESIDUAL = 0.1
FACTOR_MATCH = 0.08
SIGN_COSINE = -0.9
STANDARD_ERRORS = 4.0  # what lies within so many may be chance: it happens once in 16,000 measurements

SCORE_FACTOR_WARNING = 0.25  # 1 - factor of a score from denoising regression, whose scatter with 500 points is 0.02 to 0.05
OWN_SAMPLES_FACTOR_WARNING = 0.4  # the model's own samples carry the solver's error at small t as well
FULL_NOISE_WARNING = 0.2  # at t = 1 little is left beside -x_t, unless the data are very wide
OUTSIDE_WARNING = 0.05  # denoised points outside; the posterior mean lies in the convex hull of the data
OUTSIDE_MARGIN = 0.25  # of the domain's sides

# Relative change of the guidance between noise levels: exact fields change by 0.5 and more, a field without t by 0.
TIME_CHANGE = 0.02
TIME_CHANGE_EXACT = 0.1

# Share of guided paths outside the support; the limit is the faintest of a thousand true draws and two nats below it.
DEPARTED_WARNING = 0.03
DEPARTED_ERROR = 0.25
SUPPORT_NATS = 2.0
SUPPORT_DISTANCE = 1.5  # for points: beyond this many times the largest gap among true draws
SUPPORT_TIME = 0.05  # the support is looked at with at least this much noise, so that tiny overshoots of a sharp edge are ignored
DIVERGED = 1e3  # times the domain's half width
CREDIBLE = 4.0  # times the domain's largest coordinate: values that are not finite count on sampled paths up to here

# Median displacement when the steps are doubled, relative to the spread of the samples: 0.014 to 0.03 with 12 steps of the
# second-order solver on the toys, 0.05 to 0.09 with 6, 0.3 to 0.6 with 3.
STEPS_WARNING = 0.04
STEPS_ERROR = 0.25

# Samples against exact ones: beyond chance, and large enough to matter (the energy in standard deviations of E under the data).
ENERGY_SHIFT = 0.05
MMD_TIMES_NULL = 2.0
MMD_LEAST = 2e-3
