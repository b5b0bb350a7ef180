"""The numbers of the AIGES contract, under its own names (``aiges.core.types``)."""

STRING, AUDIO, IMAGE, VIDEO = range(4)
DataText, DataAudio, DataImage, DataVideo = range(4)
Types = {DataText: "text", DataAudio: "audio", DataImage: "image", DataVideo: "video"}

DataBegin, DataContinue, DataEnd, DataOnce = range(4)
Once = DataOnce
Status = {DataBegin: "begin", DataContinue: "continue", DataEnd: "end", DataOnce: "once"}

THREAD_MODE = "thread"
PROCESS_MODE = "process"
