"""Every colour that the package draws with: pictures, contact sheets and pages.

The strong colours are those of Okabe and Ito, which stay apart for colour-blind eyes. Lines also differ in dashes or
markers, so that a grey print can be read.
"""

BLACK, WHITE = '#000000', '#ffffff'
DARK_GREY, GREY, LIGHT_GREY = '#555555', '#777777', '#cccccc'
BLUE, ORANGE, VERMILLION = '#0072B2', '#E69F00', '#D55E00'
GREEN, PINK, SKY = '#009E73', '#CC79A7', '#56B4E9'
PURPLE, BROWN, CHARCOAL = '#7F3C8D', '#8C6D31', '#4D4D4D'
PALE_BLUE, DARK_BLUE = '#9ec5e3', '#22557a'

# The three sets of a prepared folder; the training and validation curves of a run.
TRAINING, VALIDATION, TEST = ORANGE, BLUE, GREEN
# The verdicts of a comparison.
BEST, MAY_BE_BEST, RULED_OUT, WORSE, NO_VERDICT = BLACK, BLUE, ORANGE, VERMILLION, GREY
# Settings beside each other; none of them is the colour of a verdict.
SETTINGS = (GREEN, PINK, SKY, PURPLE, BROWN, CHARCOAL)
# matplotlib's name of a colour map of one hue, which keeps its order in a grey print.
SHARES = 'Blues'
# From little to much evidence in a heat map; each is lighter than the one before.
HEAT = (DARK_BLUE, PURPLE, VERMILLION, ORANGE, '#fff2b3')
HEAT_OPACITY, HEAT_OPAQUE_FROM = 0.65, 0.7  # below this heat the colours fade away
UNSEEN_LIGHT = 0.35  # share of its light that a pixel keeps where the network does not see it

# CSS custom properties of a report page.
LIGHT_PAGE = {
    'paper': '#ffffff', 'text': '#1b1f24', 'quiet': '#57606a', 'line': '#d0d7de', 'shade': '#f3f5f7',
    'link': '#0a58ca', 'note': '#fff8e1', 'note-line': '#b7791f',
}  # fmt: skip
DARK_PAGE = {
    'paper': '#14181d', 'text': '#e4e8ec', 'quiet': '#9aa5b1', 'line': '#3a434d', 'shade': '#1e242b',
    'link': '#7ab7ff', 'note': '#2c2615', 'note-line': '#d9a441',
}  # fmt: skip
PRINTED_PAGE = {
    'paper': '#ffffff', 'text': '#000000', 'quiet': '#333333', 'line': '#999999', 'shade': '#f3f3f3',
    'link': '#000000', 'note': '#ffffff', 'note-line': '#000000',
}  # fmt: skip
