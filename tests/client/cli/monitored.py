"""What a server showed at two times, in Prometheus's text format."""

BEFORE = """
# TYPE grpc_server_started_total counter
grpc_server_started_total{grpc_type="unary",grpc_service="s",grpc_method="Evaluate"} 100
grpc_server_started_total{grpc_type="bidi_stream",grpc_service="s",grpc_method="EvaluateStream"} 0
# TYPE grpc_server_handled_total counter
grpc_server_handled_total{grpc_method="Evaluate",grpc_code="OK"} 90
grpc_server_handled_total{grpc_method="Evaluate",grpc_code="InvalidArgument"} 6
grpc_server_handled_total{grpc_method="Evaluate",grpc_code="Internal"} 1
# TYPE grpc_server_handling_seconds histogram
grpc_server_handling_seconds_bucket{grpc_method="Evaluate",le="0.1"} 50
grpc_server_handling_seconds_bucket{grpc_method="Evaluate",le="0.2"} 90
grpc_server_handling_seconds_bucket{grpc_method="Evaluate",le="+Inf"} 97
# TYPE losswire_evaluation_seconds histogram
losswire_evaluation_seconds_bucket{loss="cross_entropy",le="0.1"} 9
losswire_evaluation_seconds_bucket{loss="cross_entropy",le="+Inf"} 9
# TYPE losswire_evaluations_total counter
losswire_evaluations_total{loss="cross_entropy",dtype="float32",transport="unary"} 9
losswire_evaluations_total{loss="nll_loss",dtype="float32",transport="unary"} 0
# TYPE losswire_stage_seconds histogram
losswire_stage_seconds_bucket{stage="queue",le="0.1"} 8
losswire_stage_seconds_bucket{stage="queue",le="+Inf"} 8
losswire_stage_seconds_count{stage="queue"} 8
losswire_stage_seconds_sum{stage="queue"} 2
# TYPE losswire_launch_rows histogram
losswire_launch_rows_count 10
losswire_launch_rows_sum 1000
# TYPE losswire_rows_total counter
losswire_rows_total{series="a",loss="cross_entropy",dtype="float32",transport="unary"} 990
losswire_rows_total{series="a",loss="cross_entropy",dtype="float64",transport="pack"} 10
losswire_rows_total{series="still",loss="cross_entropy",dtype="float32",transport="unary"} 3
losswire_rows_total{series="never",loss="cross_entropy",dtype="float32",transport="unary"} 0
# TYPE losswire_predicted_rows_total counter
losswire_predicted_rows_total{series="a",loss="cross_entropy"} 0
# TYPE losswire_correct_rows_total counter
losswire_correct_rows_total{series="a",loss="cross_entropy"} 0
# TYPE losswire_nonfinite_rows_total counter
losswire_nonfinite_rows_total{series="a",loss="cross_entropy"} 10
losswire_nonfinite_rows_total{series="still",loss="cross_entropy"} 2
# TYPE losswire_row_loss histogram
losswire_row_loss_bucket{series="a",loss="cross_entropy",le="-1.0"} 0
losswire_row_loss_bucket{series="a",loss="cross_entropy",le="0.0"} 0
losswire_row_loss_bucket{series="a",loss="cross_entropy",le="1.0"} 0
losswire_row_loss_bucket{series="a",loss="cross_entropy",le="+Inf"} 0
# TYPE losswire_loss_sum_total counter
losswire_loss_sum_total{series="a",loss="cross_entropy"} 5000
losswire_loss_sum_total{series="still",loss="cross_entropy"} 7
# TYPE losswire_weight_sum_total counter
losswire_weight_sum_total{series="a",loss="cross_entropy"} 1000
losswire_weight_sum_total{series="still",loss="cross_entropy"} 3
losswire_weight_sum_total{series="never",loss="cross_entropy"} 0
# TYPE losswire_negative_loss_sum_total counter
losswire_negative_loss_sum_total{series="a",loss="cross_entropy"} 10
losswire_negative_loss_sum_total{series="still",loss="cross_entropy"} 0
losswire_negative_loss_sum_total{series="never",loss="cross_entropy"} 0
# TYPE losswire_negative_weight_sum_total counter
losswire_negative_weight_sum_total{series="a",loss="cross_entropy"} 0
losswire_negative_weight_sum_total{series="still",loss="cross_entropy"} 0
losswire_negative_weight_sum_total{series="never",loss="cross_entropy"} 0
# TYPE losswire_unsummed_evaluations_total counter
losswire_unsummed_evaluations_total{series="a",loss="cross_entropy",reason="nonfinite"} 0
losswire_unsummed_evaluations_total{series="a",loss="cross_entropy",reason="immense"} 4
# TYPE losswire_inflight_bytes gauge
losswire_inflight_bytes 5
# TYPE losswire_inflight_limit_bytes gauge
losswire_inflight_limit_bytes 1000
# TYPE losswire_shared_memory_bytes gauge
losswire_shared_memory_bytes 2000000
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total 10
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes 3e8
# TYPE process_start_time_seconds gauge
process_start_time_seconds 1000
# TYPE losswire_build_info gauge
losswire_build_info{version="1.2.3",torch="2",device="cpu"} 1
"""
LATER = {  # what has changed
    'grpc_server_started_total{grpc_type="unary",grpc_service="s",grpc_method="Evaluate"}': 141,
    'grpc_server_handled_total{grpc_method="Evaluate",grpc_code="OK"}': 126,
    'grpc_server_handled_total{grpc_method="Evaluate",grpc_code="InvalidArgument"}': 10,
    'grpc_server_handling_seconds_bucket{grpc_method="Evaluate",le="0.1"}': 70,
    'grpc_server_handling_seconds_bucket{grpc_method="Evaluate",le="0.2"}': 130,
    'grpc_server_handling_seconds_bucket{grpc_method="Evaluate",le="+Inf"}': 137,
    'losswire_evaluation_seconds_bucket{loss="cross_entropy",le="0.1"}': 19,
    'losswire_evaluation_seconds_bucket{loss="cross_entropy",le="+Inf"}': 19,
    'losswire_evaluations_total{loss="cross_entropy",dtype="float32",transport="unary"}': 19,
    'losswire_stage_seconds_bucket{stage="queue",le="0.1"}': 18,
    'losswire_stage_seconds_bucket{stage="queue",le="+Inf"}': 18,
    'losswire_stage_seconds_count{stage="queue"}': 18,
    'losswire_stage_seconds_sum{stage="queue"}': 2.5,
    "losswire_launch_rows_count": 20,
    "losswire_launch_rows_sum": 1330,
    'losswire_rows_total{series="a",loss="cross_entropy",dtype="float32",transport="unary"}': 1490,
    'losswire_predicted_rows_total{series="a",loss="cross_entropy"}': 8,
    'losswire_correct_rows_total{series="a",loss="cross_entropy"}': 6,
    'losswire_nonfinite_rows_total{series="a",loss="cross_entropy"}': 13,
    'losswire_row_loss_bucket{series="a",loss="cross_entropy",le="0.0"}': 100,
    'losswire_row_loss_bucket{series="a",loss="cross_entropy",le="1.0"}': 500,
    'losswire_row_loss_bucket{series="a",loss="cross_entropy",le="+Inf"}': 500,
    'losswire_loss_sum_total{series="a",loss="cross_entropy"}': 5250,
    'losswire_weight_sum_total{series="a",loss="cross_entropy"}': 1400,
    'losswire_negative_loss_sum_total{series="a",loss="cross_entropy"}': 60,
    "process_cpu_seconds_total": 13,
}


def later(text: str) -> str:
    """A text with the numbers of later."""
    lines = [line.rsplit(" ", 1) for line in text.splitlines()]
    assert {name for name, *_ in lines} >= LATER.keys()
    return "\n".join(f"{name} {LATER.get(name, *number)}" for name, *number in lines if number) + "\n"
