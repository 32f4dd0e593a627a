"""A report of an evaluation, in the folder of a report."""

from pathlib import Path

from pyg_graphadapter.outputs import check_output_folder, writing
from pyg_graphadapter.report.evaluation_file import EVALUATION, EVALUATION_PAGE, EvaluationFile
from pyg_graphadapter.report.evaluation_page import write_evaluation_page
from pyg_graphadapter.report.page import is_ours
from pyg_graphadapter.storage import prepare_folder


def evaluation_in(path: Path) -> EvaluationFile | None:
    """The evaluation that a folder holds, or that a file is; :obj:`None` if there is none.

    Raises:
        ValueError: If it is damaged.
    """
    file = path if path.name == EVALUATION else path / EVALUATION
    return EvaluationFile.load(file) if file.is_file() else None


def report_evaluation(evaluation: EvaluationFile, out: Path) -> Path:
    """Writes the page of an evaluation to the folder of a report.

    Raises:
        ValueError: If the folder holds something else.
    """
    check_output_folder(out, is_ours)
    with writing(out):
        prepare_folder(out, is_ours)
    write_evaluation_page(evaluation, out / EVALUATION_PAGE)
    return out / EVALUATION_PAGE
