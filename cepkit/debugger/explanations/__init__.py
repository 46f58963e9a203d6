"""The catalogue of explanations, one file for each kind of mistake.

To add one, write a function of a `cepkit.debugger.explanations.case.Case` that yields candidates, and name it in `CATALOGUE`.
"""

from cepkit.debugger.explanations import coordinates, distortions, energies, other_scores, time_mistakes

_OF_BOTH = (
    time_mistakes.other_noise_levels,
    distortions.missing_levels,
    distortions.clipped,
    coordinates.of_the_input,
    coordinates.other_units,
    coordinates.shifted,
    distortions.drift,
)
# The first that explains almost everything is named, so the certain and simple ones come first.
CATALOGUE = {
    "guidance": (
        distortions.rounded,
        distortions.factors,
        coordinates.of_the_output,
        energies.other_temperature,
        energies.conditional_score,
        energies.approximations,
        energies.clean_energy,
        energies.at_the_denoised_point,
        *_OF_BOTH,
    ),
    "score": (
        distortions.rounded,
        other_scores.parametrisations,
        distortions.factors,
        coordinates.of_the_output,
        other_scores.already_guided,
        *_OF_BOTH,
    ),
}
