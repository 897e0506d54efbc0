-- View `summary`: one row per run, coder, feature, explainer and replicate; a feature that was skipped has one row
-- without an explanation. Scores are balanced accuracies, floors those of the shuffled control.
create or replace view summary as
with scored as (
    select
        run,
        coder,
        feature,
        explainer,
        replicate,
        max(balanced_accuracy) filter (where scorer = 'detection' and control = 'none') as detection,
        max(low) filter (where scorer = 'detection' and control = 'none') as detection_low,
        max(high) filter (where scorer = 'detection' and control = 'none') as detection_high,
        max(balanced_accuracy) filter (where scorer = 'detection' and control = 'shuffled') as detection_floor,
        max(balanced_accuracy) filter (where scorer = 'fuzzing' and control = 'none') as fuzzing,
        max(low) filter (where scorer = 'fuzzing' and control = 'none') as fuzzing_low,
        max(high) filter (where scorer = 'fuzzing' and control = 'none') as fuzzing_high,
        max(balanced_accuracy) filter (where scorer = 'fuzzing' and control = 'shuffled') as fuzzing_floor,
        max(f1) filter (where scorer = 'detection' and control = 'none') as detection_f1,
        max(f1) filter (where scorer = 'fuzzing' and control = 'none') as fuzzing_f1,
        sum(n_failed) as failed_judgements
    from scores
    group by run, coder, feature, explainer, replicate
)

select
    samples.run,
    samples.coder,
    samples.feature,
    samples.status,
    coalesce(samples.reason, explanations.reason) as reason,
    features.firings,
    features.density,
    features.max,
    explanations.explainer,
    explanations.replicate,
    explanations.text as explanation,
    scored.* exclude (run, coder, feature, explainer, replicate)
from samples
inner join features using (run, coder, feature)
left join explanations using (run, coder, feature)
left join scored
    on
        samples.run = scored.run
        and samples.coder = scored.coder
        and samples.feature = scored.feature
        and explanations.explainer = scored.explainer
        and explanations.replicate = scored.replicate
