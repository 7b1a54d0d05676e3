"""The study's config, complete: a file that extends another is put over it (see quagmires/configs.py).

in:  the files of --configfile, and what --config says beside them
out: config, CONFIG_FILES (what stands in each file), WHERE (their names)
"""

import os
import sys
from pathlib import Path

# as for the jobs, which find a verifier of one's own there
sys.path += [workflow.basedir, str(Path(workflow.basedir, "workflow", "scripts"))]
from quagmires.configs import complete, in_its_file
from quagmires.study import StudyError

WHERE = ", ".join(map(os.path.relpath, workflow.configfiles))
try:
    complete_config, CONFIG_FILES = complete(config, [Path(os.path.relpath(file)) for file in workflow.configfiles])
except StudyError as error:
    raise WorkflowError(str(error))
if complete_config is not config:
    config.clear()
    config.update(complete_config)
