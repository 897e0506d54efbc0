"""Every table of the lake: what one row is, what each column means, and how a part is sorted.

The one declaration of the vocabulary. It declares names and types, and depends neither on files nor on
SQL nor on where a lake lies.
"""

import pyarrow as pa

from storage.table import Table, column, items

CODER = column("coder", pa.string(), "Name of the sparse coder in the run's config.")
FEATURE = column("feature", pa.int32(), "Index of the feature in its coder.")
NO_CODER = "-"
"""The coder of requests that check a reader, which are about features written by hand."""
NO_EXPLAINER = "-"
"""The explainer of a score that needs no explanation."""

EXPLAINER = column("explainer", pa.string(), "Name of the explainer in the run's config.")
JUDGED_EXPLAINER = column(
    "explainer",
    pa.string(),
    f"Name of the explainer in the run's config; `{NO_EXPLAINER}` where the scorer needs no explanation and judges the "
    "feature alone.",
)
REPLICATE = column("replicate", pa.int16(), "Which of several draws of the same explainer.")
SCORER = column("scorer", pa.string(), "Name of the scorer in the run's config.")
CONTROL = column(
    "control",
    pa.string(),
    "`none`: the feature itself was judged. Controls give the floor: in `shuffled` by another feature's explanation, "
    "in `mixed`, where there is none, with other features' activating contexts in the place of its own.",
)
EXPLANATION_OF = column(
    "explanation_of", pa.int32(), "Feature whose explanation was judged, or that was judged alone."
)
CONTEXT = column("context", pa.int32(), "Index of the context within its feature.")
STATUS = column("status", pa.string(), "`ok` or `failed`.")
REASON = column("reason", pa.string(), "Why it failed, in one sentence.", null="it did not fail")
READER = column("reader", pa.string(), "Name of the reader in the run's config.")
MODEL = column("model", pa.string(), "Model that answered, as its endpoint names it.")
PROMPT_HASH = column("prompt_hash", pa.string(), "Hash of all that the reader saw.")
LOGIT = pa.struct(
    [pa.field("token", pa.string(), nullable=False), pa.field("logit", pa.float32(), nullable=False)]
)
NEIGHBOUR = pa.struct(
    [
        pa.field("feature", pa.int32(), nullable=False),
        pa.field("cosine", pa.float32(), nullable=False),
    ]
)
TOKEN_SHARE = pa.struct(
    [
        pa.field("token", pa.int32(), nullable=False),
        pa.field("string", pa.string(), nullable=False),
        pa.field("share", pa.float32(), nullable=False),
        pa.field("mean", pa.float32(), nullable=False),
    ]
)

DENSE = 0.1
"""Share of tokens above which a feature is too dense, as in "Dense SAE Latents Are Features, Not Bugs"
(arXiv 2506.15679) and in delphi's statistics."""

SINGLE_TOKEN = 0.9
"""Share of a feature's firings that lie on one token when it is a single-token feature; delphi asks for it among the 50
strongest."""

FIRST_POSITIONS = 8
"""Positions that count as the beginning of a sequence."""

RARE = 200
"""Firings below which a feature is rare: the paper explains those that fire at least as often (section 3.1)."""

POSITIONAL = 0.05
"""`position_information` above which a feature is positional, in nats, as in "Open Source Automated Interpretability
for Sparse Autoencoder Features" (EleutherAI, 2024)."""

STRONG = 0.8
"""Share of a feature's firings that are its strong ones when its tokens are counted, and"""

UNIGRAM_TOKENS = 20
"""the most tokens that these are on when the feature stands for single tokens, from the same article."""

TOP_TOKENS = 10
"""Tokens that a feature's row names."""

NOT_REPORTED = "the endpoint did not report it"
FINISHED = (
    "Why the reply ended, in the endpoint's words: `stop`, or `length` where it was cut off at max_tokens."
)
ONE_CLASS = "no verdict on one of the two classes"
CHOICES = "all contexts are of one class, as with choices"
UNRANKED = "no probabilities and no values, or of one class only"
ONE_QUESTION = "all its contexts of a class were in one question"
WILSON = "Wilson at the effective size by question"
MOVER = "from those of recall and specificity by MOVER, with their correlation by question"
MOVER_R = "from those of recall and specificity by MOVER-R, with their correlation by question"
SILENT = "it never fired"
NOT_COMPUTED = "none were asked for, or the coder has no decoder"


def _interval(name: str, method: str, null: str) -> tuple[pa.Field, pa.Field]:
    """The two columns of a score's interval."""
    return (
        column(f"{name}_low", pa.float64(), f"Lower end of its 95 % interval ({method}).", null=null),
        column(f"{name}_high", pa.float64(), "Upper end of it.", null=null),
    )


TOKENS = Table(
    "tokens",
    "one row per packed sequence",
    pa.schema(
        [
            column("sequence", pa.int64(), "Index of the sequence in the corpus, from 0."),
            column("tokens", items(pa.int32()), "Token ids, the beginning-of-sequence token first."),
            column(
                "strings",
                items(pa.string()),
                "The text of each token; joined they are the sequence's text. A character that several "
                "tokens share stands at the last of them, special tokens are their own name.",
            ),
            column("documents", items(pa.int64()), "Row numbers of the documents in the corpus."),
            column("starts", items(pa.int32()), "Where each document begins.", "token position"),
            column(
                "offsets",
                items(pa.int64()),
                "Where in its document the part of each document begins.",
                "characters",
            ),
        ]
    ),
    keys=("sequence",),
    order=("sequence",),
)

ACTIVATIONS = Table(
    "activations",
    "one row per firing",
    pa.schema(
        [
            CODER,
            FEATURE,
            column("sequence", pa.int64(), "Sequence in `tokens`."),
            column("position", pa.int32(), "Position in the sequence.", "token position"),
            column("activation", pa.float32(), "The feature's activation, as the coder gives it."),
        ]
    ),
    keys=("coder", "feature", "sequence", "position"),
    order=("feature", "sequence", "position"),
)

FEATURES = Table(
    "features",
    "one row per feature of a coder, dead ones included",
    pa.schema(
        [
            CODER,
            FEATURE,
            column("firings", pa.int64(), "How often it fired.", "tokens"),
            column(
                "density",
                pa.float64(),
                "Firings as a share of the tokens on which it can fire: all of the cache but beginning-of-sequence "
                "tokens (of a tokenizer without one, each sequence's first token), unless `corpus.keep_bos`.",
            ),
            column("max", pa.float32(), "Largest activation, with its sign.", null=SILENT),
            column(
                "min",
                pa.float32(),
                "Smallest activation, with its sign: below zero only where a coder ranks by size.",
                null=SILENT,
            ),
            column("mean", pa.float32(), "Mean activation over its firings, with their signs.", null=SILENT),
            column(
                "histogram",
                items(pa.int64()),
                "Firings by the size of their activation, whatever its sign: bin i counts those in "
                "[2^(i-16), 2^(i-15)), the two ends open.",
            ),
            column("first_sequence", pa.int64(), "First sequence with a firing.", null=SILENT),
            column("last_sequence", pa.int64(), "Last sequence with a firing.", null=SILENT),
            column(
                "position_mean", pa.float32(), "Mean position of its firings.", "token position", null=SILENT
            ),
            column(
                "position_sd",
                pa.float32(),
                "Standard deviation of these positions: small where a feature stands for a position.",
                "tokens",
                null=SILENT,
            ),
            column(
                "first_positions",
                pa.float32(),
                f"Share of its firings that lie on the first {FIRST_POSITIONS} positions of a sequence.",
                null=SILENT,
            ),
            column(
                "position_information",
                pa.float32(),
                "Mutual information between firing or not and the position in the sequence, over the tokens on which "
                "it can fire, less what chance alone is expected to give; 0 where that is more. At most the entropy of "
                f"firing, which is 0.056 at a density of 1%. Above {POSITIONAL:g} a feature is called positional.",
                "nats",
                null=SILENT,
            ),
            column("distinct_tokens", pa.int32(), "How many different tokens it fired on.", null=SILENT),
            column(
                "strong_tokens",
                pa.int32(),
                f"How many different tokens are among the strongest {STRONG:.0%} of its firings, by size, equal ones "
                f"included. A feature with at most {UNIGRAM_TOKENS} is called a unigram feature.",
                null=SILENT,
            ),
            column(
                "top_tokens",
                items(TOKEN_SHARE),
                f"The {TOP_TOKENS} tokens on which it fired most, the lower id first where two are equal: id, text, "
                "share of its firings, mean activation on it.",
                null=SILENT,
            ),
            column(
                "top_token_share", pa.float32(), "Share of its firings on the first of them.", null=SILENT
            ),
            column(
                "token_entropy",
                pa.float32(),
                "Entropy of the token that it fires on: 2 to this power is the effective number of its tokens.",
                "bits",
                null=SILENT,
            ),
            column(
                "single_token",
                pa.bool_(),
                f"At least {SINGLE_TOKEN:.0%} of its firings lie on one token; unreliable where it has few firings.",
                null=SILENT,
            ),
            column("dense", pa.bool_(), f"Its density is above {DENSE:.0%}."),
            column("dead", pa.bool_(), "It never fired."),
            column(
                "top_logits",
                items(LOGIT),
                "Tokens that the feature's decoder row raises most, through the unembedding; none if the row is zero.",
                null=f"{NOT_COMPUTED}, or not into the residual stream's width",
            ),
            column(
                "bottom_logits",
                items(LOGIT),
                "Tokens that it lowers most.",
                null=f"{NOT_COMPUTED}, or not into the residual stream's width",
            ),
            column(
                "neighbours",
                items(NEIGHBOUR),
                "Features with the nearest decoder rows, the lower one first where two are equal; none if the row is "
                "zero.",
                null=NOT_COMPUTED,
            ),
            column(
                "encoder_neighbours",
                items(NEIGHBOUR),
                "Features with the nearest encoder rows, likewise.",
                null="none were asked for, or the coder has no encoder",
            ),
        ]
    ),
    keys=("coder", "feature"),
    order=("feature",),
)

EMBEDDINGS = Table(
    "embeddings",
    "one row per model and window of the grid that is searched for similar text",
    pa.schema(
        [
            column(
                "model",
                pa.string(),
                "What the model is: a hash of its files, or its name and commit on the Hub.",
            ),
            column("sequence", pa.int64(), "Sequence in `tokens`."),
            column("start", pa.int32(), "Where the window begins.", "token position"),
            column("vector", items(pa.float16()), "The model's vector of its text, at length 1."),
        ]
    ),
    keys=("model", "sequence", "start"),
    order=("sequence", "start"),
)

SAMPLES = Table(
    "samples",
    "one row per feature of a coder and sampling: what was drawn for it, or why nothing was",
    pa.schema(
        [
            CODER,
            FEATURE,
            column("status", pa.string(), "`sampled`, `skipped` or `not chosen`."),
            column("reason", pa.string(), "Why it was skipped.", null="it was not skipped"),
            column("firings", pa.int64(), "How often it fired.", "tokens"),
            column("max", pa.float32(), "Largest activation.", null=SILENT),
            column("windows", pa.int64(), "Windows of the grid in which it fires.", null="it was not chosen"),
            column(
                "silent_windows",
                pa.int64(),
                "Windows of the sequences in which it never fires.",
                null="it was not chosen",
            ),
            column("windows_total", pa.int64(), "Windows of the whole cache."),
            column(
                "candidates",
                pa.int64(),
                "Windows that its activating contexts were drawn from.",
                null="it was not chosen",
            ),
            column(
                "repeated",
                pa.int64(),
                "Windows that were left out because an earlier one has the same tokens.",
                null="it was not chosen",
            ),
            column(
                "left_out",
                pa.int64(),
                "Weakest windows that were left out because `most_windows` are enough.",
                null="it was not chosen",
            ),
            column(
                "apart",
                pa.string(),
                "What its contexts for the explainer and for the scorers do not share: `document` or `window`.",
                null="it was not sampled, or an earlier version drew its contexts",
            ),
            column("explain", pa.int32(), "Activating contexts drawn for the explainer."),
            column("contrast", pa.int32(), "Non-activating contexts drawn for the explainer."),
            column("score", pa.int32(), "Activating contexts drawn for the scorers."),
            column("negatives", pa.int32(), "Non-activating contexts drawn for the scorers."),
        ]
    ),
    keys=("coder", "feature"),
    order=("feature",),
)

CONTEXTS = Table(
    "contexts",
    "one row per context: a window of a feature that was chosen to be shown",
    pa.schema(
        [
            CODER,
            FEATURE,
            CONTEXT,
            column(
                "role", pa.string(), "`explain` or `score`; no window has both, nor is a text shown twice."
            ),
            column(
                "kind",
                pa.string(),
                "`activating`, or where a non-activating one comes from, such as `random`.",
            ),
            column(
                "decile",
                pa.int8(),
                "Tenth of the feature's windows by peak, 0 the strongest.",
                null="the context is not activating",
            ),
            column(
                "near",
                pa.int32(),
                "Feature that fires in it, where a neighbour's contexts were asked for.",
                null="the context is no neighbour's",
            ),
            column(
                "distance",
                pa.float32(),
                "How far the neighbour that fires in it is from this feature, or, of `similar_text`, its text from "
                "the texts shown to the explainer: 0 the nearest, by the measure of its kind.",
                null="the context is neither a neighbour's nor a similar text",
            ),
            column("sequence", pa.int64(), "Sequence in `tokens`."),
            column("start", pa.int32(), "Where the window begins.", "token position"),
            column("tokens", items(pa.int32()), "Token ids."),
            column("strings", items(pa.string()), "The text of each token."),
            column(
                "activations", items(pa.float32()), "The feature's activation on each token, 0 if silent."
            ),
            column(
                "other",
                pa.int32(),
                "Another feature that fires in it, where the kind asks for one: `other_feature`, `cooccurring` and "
                "`similar`.",
                null="the kind asks for none, or an earlier version drew the context",
            ),
            column(
                "other_activations",
                items(pa.float32()),
                "That feature's activation on each token, 0 if silent.",
                null="there is no other feature",
            ),
            column("peak", pa.float32(), "Largest activation in the window."),
            column(
                "peak_position",
                pa.int32(),
                "Where it is, from the window's start.",
                "token position",
                null="the feature is silent in the window",
            ),
        ]
    ),
    keys=("coder", "feature", "context"),
    order=("feature", "context"),
)

EXPLANATIONS = Table(
    "explanations",
    "one row per feature, explainer and replicate",
    pa.schema(
        [
            CODER,
            FEATURE,
            EXPLAINER,
            REPLICATE,
            column("text", pa.string(), "The explanation.", null="there is none; see reason"),
            column(
                "structure",
                pa.string(),
                "What it was rendered from, as JSON: components, scope and confidence.",
                null="the explainer asks for plain words, or there is no explanation",
            ),
            column("chosen", pa.bool_(), "Scorers judge it."),
            column(
                "held_out",
                pa.float64(),
                "Balanced accuracy of detection on explain-contexts that the explainer was not shown; selects the "
                "best of several replicates and is no score.",
                null="nothing was held out of this feature, or no verdict came on one of the two classes",
            ),
            STATUS,
            REASON,
            column(
                "reader",
                pa.string(),
                "Name of the reader in the run's config; `none` where no reader was asked.",
            ),
            column(
                "model",
                pa.string(),
                "Model that answered, as its endpoint names it; where no reader was asked, the author that "
                "an imported explanation names, or `none`.",
            ),
            column(
                "shown",
                pa.int32(),
                "Contexts that the reader was shown, non-activating ones among them: all that the explainer shows, or "
                "every second one, or every fourth and so on where more did not fit into the model's context.",
                null="no reader was asked",
            ),
            column(
                "prompt_hash", pa.string(), "Hash of all that the reader saw.", null="no reader was asked"
            ),
            column("seed", pa.int64(), "Seed that was sent.", null="no reader was asked"),
            column(
                "prompt_tokens",
                pa.int64(),
                "Prompt tokens.",
                "tokens",
                null=f"{NOT_REPORTED}, or no reader was asked",
            ),
            column(
                "completion_tokens",
                pa.int64(),
                "Generated tokens.",
                "tokens",
                null=f"{NOT_REPORTED}, or no reader was asked",
            ),
            column(
                "finish_reason",
                pa.string(),
                FINISHED + " An explanation that was cut off is there only where its sentence is whole.",
                null="no reader was asked, or no reply came",
            ),
        ]
    ),
    keys=("coder", "feature", "explainer", "replicate"),
    order=("feature", "replicate"),
)

JUDGEMENTS = Table(
    "judgements",
    "one row per verdict of one reader on one context, which may be shown twice: with right marks and with wrong ones",
    pa.schema(
        [
            CODER,
            FEATURE,
            JUDGED_EXPLAINER,
            REPLICATE,
            CONTROL,
            EXPLANATION_OF,
            SCORER,
            CONTEXT,
            column(
                "request",
                pa.string(),
                "Key of the request in `requests`; `/half1` or `/half2` at its end where its question is half of one "
                "that did not fit into the model's context.",
            ),
            column(
                "place",
                pa.int16(),
                "Number, from 1, of the context among the examples that its question shows.",
                null="the question lists no examples, or an older version of gloss wrote the row",
            ),
            column(
                "named",
                pa.int16(),
                "Number, from 1, of the example that the reader named; right where it is `place`.",
                null="none was to be named, it failed, or an older version of gloss wrote the row",
            ),
            column("truth", pa.bool_(), "The right verdict."),
            column("verdict", pa.bool_(), "The reader's verdict.", null="there is none; see reason"),
            column("probability", pa.float32(), "Probability of a positive verdict.", null="not asked for"),
            column(
                "value",
                pa.float32(),
                "What ranks contexts where there is no probability, in the scorer's own unit: the larger, the likelier "
                "that the feature fires.",
                null="the scorer gives none, or it failed",
            ),
            column(
                "simulated",
                pa.list_(pa.field("element", pa.float32())),
                "Predicted activation on each token of the context; null where the reply has no number for a token.",
                null="the scorer is not a simulation, or it failed",
            ),
            column(
                "missing",
                pa.int32(),
                "Tokens of the context without a predicted activation, which no correlation counts.",
                null="the scorer is not a simulation, it failed, or an older version of gloss wrote the row",
            ),
            STATUS,
            REASON,
            READER,
            MODEL,
        ]
    ),
    keys=("coder", "feature", "explainer", "replicate", "control", "scorer", "context", "truth"),
    order=("feature", "replicate", "control", "context", "truth"),
)

SCORES = Table(
    "scores",
    "one row per explanation, control and scorer",
    pa.schema(
        [
            CODER,
            FEATURE,
            JUDGED_EXPLAINER,
            REPLICATE,
            CONTROL,
            EXPLANATION_OF,
            SCORER,
            column(
                "measure",
                pa.string(),
                "Which column is the score: `pearson` of simulations, `balanced_accuracy` of verdicts on contexts of "
                "both classes, `accuracy` of choices and of SAEBench's verdicts, `auroc` of numbers.",
                null="no judgement has an answer",
            ),
            column("score", pa.float64(), "The value of its measure.", null="its measure is null"),
            column(
                "low",
                pa.float64(),
                "Lower end of its 95 % interval.",
                null="the interval of its measure is null",
            ),
            column("high", pa.float64(), "Upper end of it.", null="the interval of its measure is null"),
            column(
                "n", pa.int32(), "Judgements with an answer: a verdict, a probability, a value, a simulation."
            ),
            column("n_failed", pa.int32(), "Judgements without one; they count in no score."),
            column(
                "accuracy",
                pa.float64(),
                "Share of right verdicts: the score of a scorer that has one choice per question.",
                null="no verdict",
            ),
            *_interval(
                "accuracy",
                f"{WILSON} of verdicts on one class, of both {MOVER}",
                null=f"no verdict, or {ONE_QUESTION}",
            ),
            column("balanced_accuracy", pa.float64(), "Mean of recall and specificity.", null=ONE_CLASS),
            *_interval("balanced_accuracy", MOVER, null=f"{ONE_CLASS}, or {ONE_QUESTION}"),
            column(
                "recall", pa.float64(), "Share of true positives found.", null=f"no positives, or {CHOICES}"
            ),
            *_interval("recall", WILSON, null=f"no positives, or {CHOICES}, or {ONE_QUESTION}"),
            column("specificity", pa.float64(), "Share of true negatives left out.", null="no negatives"),
            *_interval("specificity", WILSON, null=f"no negatives, or {ONE_QUESTION}"),
            column(
                "precision",
                pa.float64(),
                "Share of positive verdicts that are right.",
                null=f"{ONE_CLASS}, or no positive verdict",
            ),
            *_interval("precision", MOVER_R, null=f"{ONE_CLASS}, no positive verdict, or {ONE_QUESTION}"),
            column("f1", pa.float64(), "Harmonic mean of precision and recall.", null=ONE_CLASS),
            *_interval("f1", MOVER_R, null=f"{ONE_CLASS}, or {ONE_QUESTION}"),
            column(
                "auroc",
                pa.float64(),
                "Area under the ROC curve of the probabilities, or of the values where there are none.",
                null=UNRANKED,
            ),
            *_interval(
                "auroc",
                "Wilson at the effective size by DeLong's components, summed by question",
                null=f"{UNRANKED}, or {ONE_QUESTION}",
            ),
            column("auprc", pa.float64(), "Average precision of the same.", null=UNRANKED),
            *_interval(
                "auprc",
                "Wilson at the effective size by the jackknife over contexts, summed by question",
                null=f"{UNRANKED}, or {ONE_QUESTION}",
            ),
            column(
                "brier",
                pa.float64(),
                "Mean squared distance of the probability from the truth, 0 or 1: 0 is best, 0.25 that of "
                "0.5 for every context.",
                null="no probabilities, or of one class only",
            ),
            *_interval("brier", WILSON, null=f"no probabilities, or of one class only, or {ONE_QUESTION}"),
            column(
                "pearson",
                pa.float64(),
                "Correlation of simulated and real activations over all tokens of all contexts; 0 where the simulated "
                "ones do not vary, and so tell nothing of the real ones.",
                null="no simulation, or the real ones do not vary",
            ),
            *_interval(
                "pearson",
                "Fisher's transform, its variance by the jackknife over questions",
                null="no simulation, or one of both varies in one question only or not at all",
            ),
            column(
                "hit_rates",
                pa.list_(pa.field("element", pa.float64())),
                "Share of the verdicts on activating contexts that are right, by decile, the strongest first; null "
                "where a decile has none.",
            ),
            column(
                "weighted_precision",
                pa.float64(),
                "Precision if positives were as rare as windows in which the feature fires; of negatives only those of "
                "kind silent count, which stand for the corpus.",
                null=f"{ONE_CLASS}, none on a negative of kind silent, or no positive verdict",
            ),
            *_interval(
                "weighted_precision",
                MOVER_R,
                null=f"{ONE_CLASS}, none on a negative of kind silent, no positive verdict, or {ONE_QUESTION}",
            ),
        ]
    ),
    keys=("coder", "feature", "explainer", "replicate", "control", "scorer"),
    order=("feature", "replicate", "control"),
)

REQUESTS = Table(
    "requests",
    "one row per LLM request",
    pa.schema(
        [
            column(
                "coder",
                pa.string(),
                f"Name of the sparse coder in the run's config; `{NO_CODER}` in a reader's check.",
            ),
            column(
                "feature", pa.int32(), "Index of the feature in its coder; in a check that of a made-up one."
            ),
            column(
                "stage",
                pa.string(),
                "`explain`, `score`, or `check`: questions with known answers to a reader.",
            ),
            column(
                "component",
                pa.string(),
                "The component that asked: `explainer`, or `explainer/scorer`; in a check `explainer` or `scorer`.",
            ),
            column(
                "request",
                pa.string(),
                "Key of the request. `/half` at its end: it shows every second context of the one before, which did "
                "not fit into the model's context; `/half1`, `/half2`: one half of them.",
            ),
            READER,
            column("endpoint", pa.string(), "URL that answered last, or `embedded`."),
            MODEL,
            PROMPT_HASH,
            column("prompt_tokens", pa.int64(), "Prompt tokens.", "tokens", null=NOT_REPORTED),
            column(
                "cached_tokens",
                pa.int64(),
                "Prompt tokens from the prefix cache.",
                "tokens",
                null=NOT_REPORTED,
            ),
            column("completion_tokens", pa.int64(), "Generated tokens.", "tokens", null=NOT_REPORTED),
            column(
                "finish_reason",
                pa.string(),
                FINISHED,
                null="no reply came, it holds embeddings, or the question was asked in parts",
            ),
            column("latency", pa.float64(), "From the first attempt to the end of the last.", "seconds"),
            column(
                "calls",
                pa.int32(),
                "Requests to the endpoint for it, as `gloss estimate` counts them: 1, or the number of its parts that "
                "were sent, each once however often it was tried; 0 where the reply to another request answered all.",
            ),
            column(
                "attempts",
                pa.int32(),
                "How often it was sent, over all its parts; 0 where the same task had asked the same already, which "
                "costs no tokens.",
            ),
            column(
                "structured",
                pa.string(),
                "How the form of its reply was enforced: by `structured_outputs`, by `response_format`, or not at all "
                "(`plain`).",
                null="no form was required, or the reader is embedded",
            ),
            column(
                "status",
                pa.string(),
                "`ok`, `failed`, or `halved`: it did not fit into the model's context and was asked again in halves.",
            ),
            column("reason", pa.string(), "Why it got no reply, in one sentence.", null="it got one"),
            column(
                "cost",
                pa.float64(),
                "Price at the reader's rates.",
                "currency of the rates",
                null="the reader's config names no rates, or the endpoint did not count tokens",
            ),
        ]
    ),
    keys=("coder", "stage", "component", "request"),
    order=("feature", "request"),
)

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        TOKENS,
        ACTIVATIONS,
        FEATURES,
        EMBEDDINGS,
        SAMPLES,
        CONTEXTS,
        EXPLANATIONS,
        JUDGEMENTS,
        SCORES,
        REQUESTS,
    )
}
