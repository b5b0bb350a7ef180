"""The public names, each with its home. They are imported when they are first used."""

from .app import Gateway as Gateway
from .binding.parameters import unit as unit
from .binding.requirements import Requires as Requires
from .client import Client as Client
from .client.inference_run import InferenceRun as InferenceRun
from .client.local import LocalClient as LocalClient
from .config import Settings as Settings
from .contract.execution import Batch as Batch
from .contract.execution import Execution as Execution
from .contract.findings import BoundingBox as BoundingBox
from .contract.findings import Classification as Classification
from .contract.findings import Code as Code
from .contract.findings import Conformance as Conformance
from .contract.findings import Finding as Finding
from .contract.findings import Heatmap as Heatmap
from .contract.findings import Label as Label
from .contract.findings import LabelMask as LabelMask
from .contract.findings import LinearMeasurement as LinearMeasurement
from .contract.findings import Mask as Mask
from .contract.findings import ProbabilityMask as ProbabilityMask
from .contract.findings import SecondaryCapture as SecondaryCapture
from .contract.findings import StructuredReport as StructuredReport
from .contract.model import Model as Model
from .contract.requests import Attachment as Attachment
from .contract.requests import ModelAnswer as ModelAnswer
from .contract.requests import Request as Request
from .contract.requests import Result as Result
from .contract.requests import current_request as current_request
from .dicom.volumes.study import Image as Image
from .dicom.volumes.study import Series as Series
from .dicom.volumes.study import Study as Study
from .dicom.volumes.study import Volume as Volume
from .dicom.writing.codes import codes as codes
from .errors import Cancelled as Cancelled
from .errors import GatewayError as GatewayError
from .errors import StudyRefused as StudyRefused
from .protocol.serializer import InferenceSerializer as InferenceSerializer
from .server.master import serve as serve

__version__: str
