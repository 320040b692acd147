"""Interactive figures: one ES module each, live in a notebook and on a static page.

A figure is `name.js` (the arithmetic as exported pure functions, and `render({model, el})`) and a small class below
its base, `Figure`. In Jupyter and Colab it is an anywidget; its saved output also carries a `<div data-figure>` that
the site's loader mounts with the same module, so a page without a server has the same figure.
"""

from cnnbook.figures.architecture_explorer import ArchitectureExplorer
from cnnbook.figures.backprop_stepper import BackpropStepper
from cnnbook.figures.base import Figure, bundle
from cnnbook.figures.convolution_explorer import ConvolutionExplorer
from cnnbook.figures.cost_explorer import CostExplorer
from cnnbook.figures.gradient_flow_explorer import GradientFlowExplorer
from cnnbook.figures.parameter_ladder import ParameterLadder
from cnnbook.figures.quiz import Quiz
from cnnbook.figures.receptive_field_explorer import ReceptiveFieldExplorer
from cnnbook.figures.shift_explorer import ShiftExplorer
from cnnbook.figures.stack_calculator import StackCalculator

__all__ = [
    "ArchitectureExplorer",
    "BackpropStepper",
    "ConvolutionExplorer",
    "CostExplorer",
    "Figure",
    "GradientFlowExplorer",
    "ParameterLadder",
    "Quiz",
    "ReceptiveFieldExplorer",
    "ShiftExplorer",
    "StackCalculator",
    "bundle",
]
