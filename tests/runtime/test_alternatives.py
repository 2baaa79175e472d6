"""What a recogniser makes of a beam: other texts, boosted words, and the same in a stream however it is cut."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asr.errors import OptionError
from asr.runtime import words
from asr.runtime.beam import Beam
from asr.runtime.phrases import Phrase
from asr.runtime.recognizer import BEAM_OF_ALTERNATIVES, BEAM_OF_PHRASES, LARGEST_BEAM, Options
from asr.runtime.search import Rules, greedy

SECOND = {"c": "d", "f": "g"}  # what each may also be, at a third of the chance


@pytest.fixture
def unsure(hearing):
    """Hears c and d, f and g nearly alike; and CTC hears no letters, so that it decides nothing."""

    def make(**changes):
        recognizer = hearing(ctc=False, **changes)
        session, ids = recognizer.decoder.session, recognizer.tokenizer.get_vocab()
        run = session.run

        def doubts(wanted, feed):
            made = dict(zip(wanted, run(wanted, feed), strict=True))
            for row in made["log_probs"].reshape(-1, made["log_probs"].shape[-1]):
                for one, other in SECOND.items():
                    if row[ids[f"Ġ{one}"]] > -1:
                        row[ids[f"Ġ{one}"]], row[ids[f"Ġ{other}"]] = np.log(0.7), np.log(0.2)
            return [made[name] for name in wanted]

        session.run = doubts
        return recognizer

    return make


def texts(result):
    return [result.text.strip(), *(other.text.strip() for other in result.alternatives)]


def finals(updates):
    return [result for update in updates for result in update.results if result.is_final]


def test_other_texts_come_in_the_order_of_their_odds(unsure, speak):
    (final,) = unsure().transcribe(speak("a c b f"), Options(alternatives=4)).segments
    assert set(texts(final)) == {"a c b f", "a d b f", "a c b g", "a d b g"}
    assert texts(final)[0] == "a c b f"
    assert texts(final)[-1] == "a d b g"
    odds = [other.odds for other in final.alternatives]
    assert odds == sorted(odds, reverse=True)
    assert odds == pytest.approx([2 / 7, 2 / 7, 4 / 49], rel=0.01)


def test_each_has_words_with_times_and_tokens(unsure, speak):
    (final,) = unsure().transcribe(speak("a c b f"), Options(alternatives=4, alignment=True)).segments
    for other in final.alternatives:
        assert "".join(word.text for word in other.words) == other.text
        times = [(word.start_s, word.end_s) for word in other.words]
        assert times == [(word.start_s, word.end_s) for word in final.words]
        assert other.avg_logprob < final.avg_logprob
    assert [row.token_id for row in final.alignment.rows] == list(final.tokens), "the rows are the best one's"


def test_as_many_come_as_are_wanted_and_none_unasked(unsure, speak):
    for count in (1, 2, 3):
        (final,) = unsure().transcribe(speak("a c b f"), Options(alternatives=count, beam=8)).segments
        assert len(texts(final)) == count


def test_a_single_text_has_no_others(hearing, speak):
    (final,) = hearing().transcribe(speak("a b"), Options(alternatives=3)).segments
    assert final.text.strip() == "a b"
    assert all(other.odds < 0.01 for other in final.alternatives)


def test_a_phrase_makes_the_second_best_the_best(unsure, speak):
    def heard(*phrases):
        options = Options(phrases=tuple(phrases))
        return unsure().transcribe(speak("a c b f"), options).text

    assert heard(Phrase("d", 3.0)) == "a d b f"
    assert heard(Phrase("d b g", 3.0)) == "a d b g"
    assert heard(Phrase("d c", 3.0)) == "a c b f", "half a phrase was not said"
    assert heard(Phrase("d", 0.5)) == "a c b f", "a weak wish"
    assert heard(Phrase("q", 3.0), Phrase("r", 3.0)) == "a c b f", "nobody said these"


@pytest.mark.parametrize("options", [Options("640ms", alternatives=4), Options("640ms", phrases=(Phrase("d", 3.0),))])
@given(data=st.data())
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_packets_change_nothing(unsure, speak, options, data):
    samples = speak("a c b f _ _ _ _ c _ f")
    options = replace(options, interim=data.draw(st.booleans()))
    cuts = sorted(data.draw(st.sets(st.integers(1, samples.size - 1), max_size=8)))

    def heard(packets):
        stream = unsure().stream(options)
        updates = [*(update for packet in packets for update in stream.accept(packet)), *stream.finish()]
        return [(result.text, result.words, result.alternatives) for result in finals(updates)]

    assert heard(np.split(samples, cuts)) == heard([samples])


@pytest.mark.parametrize("rescore", [False, True])
def test_what_is_stable_is_in_every_alternative(unsure, speak, rescore):
    stream = unsure().stream(Options("320ms", alternatives=8, rescore=rescore))
    updates = [*stream.accept(speak("a c b f a c b f a c")), *stream.finish()]
    stable = ""
    for update in updates:
        for result in update.results:
            if result.is_final:
                assert all(text.startswith(stable.strip()) for text in texts(result))
                assert len(texts(result)) > 1
            elif result.stability == 1.0:
                assert result.text.startswith(stable)
                stable = result.text
    assert bool(stable) != rescore, "what is read once more is not stable before"


def test_alternatives_are_worked_out_for_finals_alone(unsure, speak, monkeypatch):
    understood = []
    spans = words.word_spans
    monkeypatch.setattr(words, "word_spans", lambda *given: understood.append(given) or spans(*given))

    def worked_out(alternatives):
        """Readings that were understood before the final, and for it."""
        understood.clear()
        stream = unsure().stream(Options("320ms", alternatives=alternatives, beam=8))
        (*_, last) = stream.accept(speak("a c b f a c b f a c"))
        assert not any(result.is_final for result in last.results)
        before = len(understood)
        (final,) = finals(stream.finish())
        return before, len(understood) - before, len(final.alternatives)

    before, at_end, none = worked_out(1)
    assert (before > 1, at_end, none) == (True, 1, 0)
    assert worked_out(4) == (before, 4, 3)


def test_a_boosted_word_is_stable_as_it_is_boosted(unsure, speak):
    stream = unsure().stream(Options("320ms", phrases=(Phrase("d", 3.0),)))
    updates = [*stream.accept(speak("a c b f a c b f a c b a b a b")), *stream.finish()]
    stable = [result.text for update in updates for result in update.results if result.stability == 1.0]
    assert "a d b" in stable[-1]
    assert finals(updates)[0].text.startswith(stable[-1])


@pytest.mark.parametrize(
    ("options", "width"),
    [
        (Options(), 1),
        (Options(beam=3), 3),
        (Options(alternatives=2), BEAM_OF_ALTERNATIVES),
        (Options(alternatives=9, beam=2), 9),
        (Options(alternatives=1000), LARGEST_BEAM),
        (Options(phrases=(Phrase("a"),)), BEAM_OF_PHRASES),
        (Options(phrases=(Phrase("a"),), beam=8), 8),
    ],
)
def test_the_beam_is_as_wide_as_what_is_asked_takes(options, width):
    assert options.width == width


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (Options(beam=0), "1 to 16"),
        (Options(beam=17), "1 to 16"),
        (Options(alternatives=0), "at least 1"),
        (Options(ctc_weight=1.5), "0 to 1"),
        (Options(phrases=(Phrase("a"),) * 1001), "1000 phrases"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(hearing, options, said):
    with pytest.raises(OptionError, match=said):
        hearing().stream(options)


def test_a_batch_of_hypotheses_is_bit_for_bit_one_after_the_other(recognizer, clip):
    """On the shipped model: so a beam is exact at any width, and one of 1 is greedy search."""
    source = recognizer.encoder.encode(clip("librivox-0880"))
    stepper = recognizer.decoder.over(source)
    prompt = recognizer.bundle.tokens.prompt("en")
    log_probs, _, state = stepper.step(prompt, stepper.start())
    tokens = np.argsort(-log_probs[-1])[:5].tolist()
    together = stepper.step_each(tokens, [state] * 5)
    again = stepper.step_each(tokens[::-1], together[2])
    for row, token in enumerate(tokens):
        one = stepper.step([token], state)
        two = stepper.step([tokens[-1 - row]], one[2])
        for (after, looked, _), alone in ((together, one), (again, two)):
            assert np.array_equal(after[row], alone[0][0])
            assert np.array_equal(looked[:, row], alone[1][:, 0])


def test_a_beam_of_one_hears_what_greedy_search_hears(recognizer, clip):
    source = recognizer.encoder.encode(clip("librivox-0870"))
    one = recognizer.decode(source, "en", every_head=True)
    (other,) = recognizer.search(source, "en", Beam(1), every_head=True)
    assert other.hypothesis.tokens == one.tokens
    assert np.array_equal(other.hypothesis.log_probs, one.log_probs)
    assert np.array_equal(other.hypothesis.weights, one.weights)
    assert other.hypothesis.end_log_prob == one.end_log_prob


def test_a_name_that_is_heard_wrong_becomes_right(recognizer, clip):
    samples = clip("librivox-0880")
    plain = recognizer.transcribe(samples).text
    assert "supposed" in plain, "the speaker says: ill-disposed"
    boosted = recognizer.transcribe(samples, Options(phrases=(Phrase("ill-disposed", 3.0),))).text
    assert boosted == plain.replace("ill-supposed", "ill-disposed")


def test_a_model_of_one_token_at_a_time_has_alternatives_too(unsure, speak):
    (final,) = unsure(multi_token=False).transcribe(speak("a c"), Options(alternatives=2)).segments
    assert texts(final) == ["a c", "a d"]


def test_rules_are_the_same_for_both_searches(recognizer, clip, monkeypatch):
    given: list[Rules] = []

    def remember(stepper, prompt, rules, *rest):
        given.append(rules)
        return greedy(stepper, prompt, rules)

    monkeypatch.setattr("asr.runtime.recognizer.greedy", remember)
    monkeypatch.setattr("asr.runtime.recognizer.beam", remember)
    source = recognizer.encoder.encode(clip("goforward"))
    recognizer.decode(source, "en", goes_on=2)
    recognizer.search(source, "en", Beam(4), goes_on=2)
    one, other = (vars(rules) for rules in given)
    assert all(np.array_equal(one[name], other[name]) for name in one)
