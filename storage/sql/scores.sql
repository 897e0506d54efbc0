-- One row per explanation, control and scorer, from its judgements; failed ones only count as failed.
-- The score is what the judgements are made for: the correlation of a simulation, the balanced accuracy of verdicts on
-- contexts of both classes, the accuracy of choices, the AUROC of numbers; $measure stands before it where a scorer is
-- meant for another number of its verdicts.
with densities as (
    select
        feature,
        windows / windows_total as density
    from read_parquet($samples, hive_partitioning = false)
),

joined as (
    select
        verdicts.*,
        combined.* exclude (feature, replicate, control),
        curves.* exclude (feature, replicate, control),
        briers.* exclude (feature, replicate, control),
        simulations.* exclude (feature, replicate, control),
        hit_rates.hit_rates,
        densities.density,
        case
            when verdicts.simulations > 0 then 'pearson'
            when verdicts.answered > 0 and $measure is not null then $measure
            when verdicts.answered > 0 and verdicts.classes = 2 then 'balanced_accuracy'
            when verdicts.answered > 0 then 'accuracy'
            when verdicts.ranked > 0 then 'auroc'
        end as measure
    from verdicts
    left join combined using (feature, replicate, control)
    left join hit_rates using (feature, replicate, control)
    left join curves using (feature, replicate, control)
    left join briers using (feature, replicate, control)
    left join simulations using (feature, replicate, control)
    left join densities using (feature)
),

weighed as (
    select
        *,
        recall * density / nullif(recall * density + (1 - silent_specificity) * (1 - density), 0)
            as weighted_precision,
        weighted(recall_over_silent_alarms_low, density) as weighted_precision_above,
        1 - weighted(silent_alarms_over_recall_low, 1 - density) as weighted_precision_below
    from joined
),

measured as (
    select
        *,
        case measure
            when 'pearson' then [pearson, pearson_low, pearson_high]
            when 'balanced_accuracy' then [balanced_accuracy, balanced_accuracy_low, balanced_accuracy_high]
            when 'accuracy' then [accuracy, accuracy_low, accuracy_high]
            when 'auroc' then [auroc, auroc_interval['low'], auroc_interval['high']]
        end as chosen
    from weighed
)

select
    coder,
    feature,
    explainer,
    replicate,
    control,
    explanation_of,
    scorer,
    measure,
    chosen[1] as score,
    chosen[2] as low,
    chosen[3] as high,
    n,
    n_failed,
    accuracy,
    accuracy_low,
    accuracy_high,
    balanced_accuracy,
    balanced_accuracy_low,
    balanced_accuracy_high,
    recall,
    case when recall is not null then hit_interval['low'] end as recall_low,
    case when recall is not null then hit_interval['high'] end as recall_high,
    specificity,
    specificity_interval['low'] as specificity_low,
    specificity_interval['high'] as specificity_high,
    precision,
    precision_low,
    precision_high,
    f1,
    f1_low,
    f1_high,
    auroc,
    auroc_interval['low'] as auroc_low,
    auroc_interval['high'] as auroc_high,
    auprc,
    auprc_interval['low'] as auprc_low,
    auprc_interval['high'] as auprc_high,
    brier,
    brier_interval['low'] as brier_low,
    brier_interval['high'] as brier_high,
    pearson,
    pearson_low,
    pearson_high,
    hit_rates,
    weighted_precision,
    case when weighted_precision is not null then weighted_precision_above end as weighted_precision_low,
    case when weighted_precision is not null then weighted_precision_below end as weighted_precision_high
from measured
order by feature, replicate, control
