"""A server process from its first line, whatever its start may meet."""

from __future__ import annotations

from nfdt.cluster import serving
from nfdt.cluster.ending import Ending
from nfdt.cluster.mpi import Peers
from nfdt.cluster.wire import MpiServer
from nfdt.options import Options


def serve(peers: Peers, options: Options, job_dir: str | None) -> int:
    """Serves until the job ends.

    Args:
        peers: This process's end of the job.
        options: The user's choices.
        job_dir: Where the launcher finds summary and failure, or None.

    Returns:
        The exit code; of a job that fails it does not return.
    """
    try:
        server = serving.Serving(peers, options, job_dir)
    except Exception as error:  # what the launcher could not see
        serving.show_frames()
        wire = MpiServer(peers, lambda message, payload_bytes: bytearray(payload_bytes))
        ending = Ending(peers, wire, job_dir)
        text = str(error) if isinstance(error, ValueError) else serving.name_of(error)
        ending.fail(text, range(peers.roles.num_workers), peers.rank)
        ending.leave(1)
    return server.run()
