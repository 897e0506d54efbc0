-- View `summary`: one row per run, coder, feature, explainer and replicate; a feature that no explainer was asked to
-- explain has one row. Where it has no explanation, status and reason tell why. The view `scored` has the scorers'
-- columns.
create or replace view summary as
select
    features.run,
    features.coder,
    run_coders.site,
    features.feature,
    case
        when samples.status is null then 'cached'
        when explanations.status = 'ok' then 'explained'
        when explanations.status = 'failed' then 'failed'
        else samples.status
    end as status,
    case
        when samples.status is null then 'it is not sampled yet'
        when samples.status = 'not chosen' then 'the run does not choose it'
        when samples.status = 'sampled' and explanations.status is null then 'it is not explained yet'
        else coalesce(explanations.reason, samples.reason)
    end as reason,
    explanations.explainer,
    explanations.replicate,
    explanations.text as explanation,
    scored.* exclude (run, coder, feature, explainer, replicate),
    explanations.reader,
    explanations.model,
    explanations.prompt_tokens,
    explanations.completion_tokens,
    samples.* exclude (run, coder, feature, status, reason, firings, max)
    rename (
        explain as explain_contexts,
        contrast as contrast_contexts,
        score as score_contexts,
        negatives as negative_contexts
    ),
    features.* exclude (run, coder, feature)
from features
left join run_coders using (run, coder)
left join samples using (run, coder, feature)
left join explanations using (run, coder, feature)
left join scored
    on
        features.run = scored.run
        and features.coder = scored.coder
        and features.feature = scored.feature
        and explanations.explainer is not distinct from scored.explainer
        and explanations.replicate is not distinct from scored.replicate
