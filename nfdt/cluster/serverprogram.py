"""A server process from its first line, whatever its start may meet."""

from __future__ import annotations

from nfdt.cluster import server_loop
from nfdt.cluster.mpi import Peers
from nfdt.cluster.mpi_transport import MpiServer
from nfdt.cluster.shutdown import Ending
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
        server = server_loop.Serving(peers, options, job_dir)
    except Exception as error:  # what the launcher could not see
        server_loop.show_frames()
        wire = MpiServer(peers, lambda message, payload_bytes: bytearray(payload_bytes))
        ending = Ending(peers, wire, job_dir)
        text = (
            str(error) if isinstance(error, ValueError) else server_loop.name_of(error)
        )
        ending.fail(text, range(peers.roles.num_workers), peers.rank)
        ending.leave(1)
    return server.run()
