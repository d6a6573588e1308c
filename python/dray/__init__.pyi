from ._arrow import Rows as Rows
from ._arrow import read as read
from ._arrow import write as write
from ._connection import Connection as Connection
from ._connection import connect as connect
from ._copy import Copy as Copy
from ._copy import CopyReport as CopyReport
from ._copy import TableReport as TableReport
from ._copy import copy_table as copy_table
from ._copy import copy_tables as copy_tables
from ._copy_plan import CopyPlan as CopyPlan
from ._copy_plan import PlannedTable as PlannedTable
from ._copy_plan import plan_copy as plan_copy
from ._copy_run import CopyProgress as CopyProgress
from ._copy_run import CopyRun as CopyRun
from ._copy_run import RunningTable as RunningTable
from ._copy_run import start_copy as start_copy
from ._errors import ActivityError as ActivityError
from ._errors import ConnectError as ConnectError
from ._errors import CopyError as CopyError
from ._errors import DatabaseError as DatabaseError
from ._errors import DriverNotFoundError as DriverNotFoundError
from ._errors import Error as Error
from ._errors import OutputsError as OutputsError
from ._errors import ParametersError as ParametersError
from ._errors import UnresolvedSecretError as UnresolvedSecretError
from ._handover import Activity as Activity
from ._handover import Batch as Batch
from ._handover import ByName
from ._handover import Dataset as Dataset
from ._handover import LinkedService as LinkedService
from ._handover import Parameters as Parameters
from ._outputs import Outputs as Outputs
from ._secret import KeyVaultSecret as KeyVaultSecret
from ._secret import Secret as Secret
from ._verify import ComparedTable as ComparedTable
from ._verify import Comparison as Comparison
from ._verify import Difference as Difference
from ._verify import verify_tables as verify_tables

activity: Activity
params: Parameters
linked_services: ByName[LinkedService]
datasets: ByName[Dataset]
batch: Batch
outputs: Outputs
__version__: str
