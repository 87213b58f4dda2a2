"""MIND (§3) and the models that it is compared with (§4.2)."""

from mindlib.models.comirec import ComiRecDR, ComiRecDRConfig, ComiRecSA, ComiRecSAConfig
from mindlib.models.factorization import WALS, WALSConfig
from mindlib.models.item_cf import ItemCF, ItemCFConfig
from mindlib.models.maxmf import MaxMF, MaxMFConfig
from mindlib.models.mind import MIND, MINDConfig
from mindlib.models.popularity import Popularity, Random
from mindlib.models.sasrec import SASRec, SASRecConfig
from mindlib.models.vector_model import Interests, VectorModel
from mindlib.models.youtube_dnn import YouTubeDNN, YouTubeDNNConfig

__all__ = [
    "MIND",
    "WALS",
    "ComiRecDR",
    "ComiRecDRConfig",
    "ComiRecSA",
    "ComiRecSAConfig",
    "Interests",
    "ItemCF",
    "ItemCFConfig",
    "MINDConfig",
    "MaxMF",
    "MaxMFConfig",
    "Popularity",
    "Random",
    "SASRec",
    "SASRecConfig",
    "VectorModel",
    "WALSConfig",
    "YouTubeDNN",
    "YouTubeDNNConfig",
]
