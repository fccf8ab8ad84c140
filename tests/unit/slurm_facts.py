"""What a real Slurm 22.05 said: squeue's lines with their mark, slurmrestd's JSON with the fields that are read."""

from __future__ import annotations

MARK = "d6f0c2a19b3e4f57"
SQUEUE = """<@>6<@>games<@>FAILED<@>NonZeroExitCode<@>main<@>1795471891<@>1795471958<@>n1<@>fails<@>(null)<@>
<@>22<@>games<@>FAILED<@>NonZeroExitCode<@>main<@>1795471958<@>1795471961<@>n1<@>two
lines<@>c1
c2	x<@>
<@>24<@>games<@>PENDING<@>Resources<@>main<@>1795472030<@>1795475561<@><@>pend<@>(null)<@>
<@>25<@>games<@>PENDING<@>Priority<@>main<@>1795472030<@>1795475491<@><@>pend<@>(null)<@>
<@>26<@>games<@>PENDING<@>PartitionTimeLimit<@>main<@>1795472030<@>N/A<@><@>lim<@>(null)<@>
<@>1<@>games<@>RUNNING<@>None<@>main<@>1795471891<@>1795471891<@>n1<@>dask-worker-0123456789ab-0<@>\
nbplatform/1 hub=h user=games server= run=r cluster=0123456789ab<@>
<@>2<@>games<@>RUNNING<@>None<@>main<@>1795471891<@>1795471891<@>n2<@>odd|name with é<@>|pipe "q" \\n x<@>
<@>23<@>games<@>RUNNING<@>None<@>main<@>1795471958<@>1795471961<@>n1<@>latin<@>��<@>
<@>3<@>games<@>CANCELLED<@>Resources<@>small<@>1795471891<@>1795471958<@><@>full<@>(null)<@>
""".replace("@", MARK)
"""One that failed, two lines in one name, waiting, an array, too long for its partition, odd, no UTF-8, cancelled."""
META = {
    "plugin": {"type": "openapi/v0.0.38", "name": "Slurm OpenAPI v0.0.38"},
    "Slurm": {"version": {"major": 22, "micro": 8, "minor": 5}, "release": "22.05.8"},
}
REST_JOBS = {
    "meta": META,
    "errors": [],
    "jobs": [
        {
            "job_id": 1,
            "name": "dask-worker-0123456789ab-0",
            "user_name": "games",
            "user_id": 5,
            "job_state": "RUNNING",
            "state_reason": "None",
            "comment": "nbplatform/1 hub=h user=games server= run=r cluster=0123456789ab",
            "partition": "main",
            "submit_time": 1795471891,
            "start_time": 1795471891,
            "nodes": "n1",
            "exit_code": 0,
            "array_job_id": 0,
        },
        {
            "job_id": 3,
            "name": "full",
            "user_name": "games",
            "user_id": 5,
            "job_state": "CANCELLED",
            "state_reason": "Resources",
            "comment": "",
            "partition": "small",
            "submit_time": 1795471891,
            "start_time": 1795471958,
            "nodes": "",
            "exit_code": 0,
            "array_job_id": 0,
        },
        {
            "job_id": 6,
            "name": "fails",
            "user_name": "games",
            "user_id": 5,
            "job_state": "FAILED",
            "state_reason": "NonZeroExitCode",
            "comment": "",
            "partition": "main",
            "submit_time": 1795471891,
            "start_time": 1795471958,
            "nodes": "n1",
            "exit_code": 768,
            "array_job_id": 0,
        },
        {
            "job_id": 7,
            "name": "killed",
            "user_name": "games",
            "user_id": 5,
            "job_state": "FAILED",
            "state_reason": "JobLaunchFailure",
            "comment": "",
            "partition": "main",
            "submit_time": 1795471891,
            "start_time": 1795471958,
            "nodes": "n1",
            "exit_code": 9,
            "array_job_id": 0,
        },
        {
            "job_id": 12,
            "name": "wrap",
            "user_name": "games",
            "user_id": 5,
            "job_state": "FAILED",
            "state_reason": "BadConstraints",
            "comment": "",
            "partition": "main",
            "submit_time": 1795471891,
            "start_time": 1795471891,
            "nodes": "",
            "exit_code": 1,
            "array_job_id": 0,
        },
        {
            "job_id": 24,
            "name": "pend",
            "user_name": "games",
            "user_id": 5,
            "job_state": "PENDING",
            "state_reason": "Resources",
            "comment": "",
            "partition": "main",
            "submit_time": 1795472030,
            "start_time": 1795475561,
            "nodes": "",
            "exit_code": 0,
            "array_job_id": 0,
        },
    ],
}
UNKNOWN_JOB = {
    "meta": META,
    "errors": [
        {
            "description": "Unable to find JobId=99999",
            "error_number": 2017,
            "error": "Invalid job id specified",
            "source": "slurm_load_job",
        }
    ],
    "jobs": [],
}
SUBMITTED = {"meta": META, "errors": [], "job_id": 27, "step_id": "BATCH", "job_submit_user_msg": ""}
SUBMITTED_WITH_ERROR = {
    "meta": META,
    "errors": [{"error_code": 2015, "error": "Requested partition configuration not available now"}],
    "job_id": 33,
    "step_id": "BATCH",
    "job_submit_user_msg": "",
}
NOT_SUBMITTED = {"meta": META, "errors": [{"error_code": 2000, "error": "Invalid partition name specified"}]}
OTHER_USER = {"meta": META, "errors": [{"error_code": 5005, "error": "Zero Bytes were transmitted or received"}]}
"""A token of one user with the name of another."""
NEWER_JOB = {
    "job_id": 5,
    "name": "w",
    "user_name": "games",
    "job_state": ["FAILED", "COMPLETING"],
    "state_reason": "NonZeroExitCode",
    "comment": "",
    "partition": "main",
    "submit_time": {"set": True, "infinite": False, "number": 1795471891},
    "start_time": {"set": True, "infinite": False, "number": 1795471958},
    "nodes": "n1",
    "exit_code": {
        "status": ["ERROR"],
        "return_code": {"set": True, "infinite": False, "number": 3},
        "signal": {"id": {"set": False, "infinite": False, "number": 0}, "name": ""},
    },
}
"""As the description of v0.0.40 has it; from its text, not from a server."""
SBATCH_ERRORS = {
    "partition": (
        "sbatch: error: invalid partition specified: nope\n"
        "sbatch: error: Batch job submission failed: Invalid partition name specified\n"
    ),
    "memory": (
        "sbatch: error: Memory specification can not be satisfied\n"
        "sbatch: error: Batch job submission failed: Requested node configuration is not available\n"
    ),
    "node": "sbatch: error: Batch job submission failed: Requested node configuration is not available\n",
    "account": (
        "sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified\n"
    ),
    "quota": (
        "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy "
        "(job submit limit, user's size and/or time limits)\n"
    ),
    "down": "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)\n",
    "time": "sbatch: error: Invalid --time specification\n",
    "reservation": "sbatch: error: Batch job submission failed: Requested reservation is invalid\n",
}
