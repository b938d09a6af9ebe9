import pytest

from alia_ray.edits.names import class_name, doubts, prompt_names


@pytest.mark.parametrize(
    ("label", "name"),
    [
        # CUB-200-2011 and Caltech-256: three digits and a dot number the class
        ("001.Black_footed_Albatross", "Black footed Albatross"),
        ("105.Whip_poor_Will", "Eastern whip-poor-will"),
        ("110.Geococcyx", "Roadrunner"),
        ("001.ak47", "ak47"),
        ("145.motorbikes-101", "motorbikes-101"),
        # FGVC-Aircraft, Stanford Cars: the numbers are the names
        ("737-200", "737-200"),
        ("A310", "A310"),
        ("F_A-18", "F A-18"),
        ("2012 Audi S5", "2012 Audi S5"),
        ("BMW 3 Series Sedan 2012", "BMW 3 Series Sedan 2012"),
        ("Ram_C-V_Cargo_Van_Minivan_2012", "Ram C-V Cargo Van Minivan 2012"),
        # ImageNet, Stanford Dogs, Tiny ImageNet, Hugging Face's ImageNet
        ("n01440764", "n01440764"),
        ("n02085620-Chihuahua", "Chihuahua"),
        ("n02085936-Maltese_dog", "Maltese dog"),
        ("n01440764 tench", "tench"),
        ("tench, Tinca tinca", "tench, Tinca tinca"),
        # iNaturalist 2021: all ranks, of which the last two are the species
        ("00042_Animalia_Arthropoda_Insecta_Diptera_Syrphidae_Eristalis_tenax", "Eristalis tenax"),
        # Food-101, Oxford pets, PlantVillage, EuroSAT, Caltech-101, iWildCam, the miniature
        ("apple_pie", "apple pie"),
        ("Abyssinian_1", "Abyssinian 1"),
        ("Tomato___Late_blight", "Tomato Late blight"),
        ("Pepper,_bell___Bacterial_spot", "Pepper, bell Bacterial spot"),
        ("Corn_(maize)___healthy", "Corn (maize) healthy"),
        ("AnnualCrop", "AnnualCrop"),
        ("BACKGROUND_Google", "BACKGROUND Google"),
        ("dik-diks", "dik-diks"),
        ("mirrol", "mirrol"),
        # numbers of classes: MNIST, GTSRB, Flowers-102
        ("7", "7"),
        ("00014", "00014"),
        # dots part words, as they always did, but not numbers
        ("St. Bernard", "St Bernard"),
        ("Mr._X", "Mr X"),
        ("a.b", "a b"),
        ("v1.5_turbo", "v1.5 turbo"),
        # what nobody sees or means
        ("  cat \t", "cat"),
        ("_cat_", "cat"),
        ("cat.", "cat"),
        ("\ufeffcat", "cat"),
        ("red\x00\x1b\nfox", "red fox"),
        ("Salt &amp; pepper", "Salt & pepper"),
        ("AT&T", "AT&T"),
        ("Cafe\u0301", "Café"),
        ("梅花鹿", "梅花鹿"),
        ("نمی\u200cخواهم", "نمی\u200cخواهم"),
        ("{x} {}", "{x} {}"),
        ("___", ""),
        ("...", ""),
        ("", ""),
    ],
)
def test_a_label_becomes_a_name_that_keeps_what_tells_it_apart(label, name):
    assert class_name(label) == name


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        ("7", "is only a number"),
        ("00014", "is only a number"),
        ("class_3", "looks like the number of a class"),
        ("c0", "looks like the number of a class"),
        ("007_fox", "begins with a running number"),
        ("n01440764", "is a WordNet id"),
        ("0f3a9c1d", "is a hash"),
        ("123e4567-e89b-12d3-a456-426614174000", "is a hash"),
        ("K", "is one letter"),
        ("bcc", "has no vowel"),
        ("tench, Tinca tinca", "may be several names"),
        ("AnnualCrop", "runs words together"),
        # VGGFace2, the files of Places365, of SUN397 and of AwA2, an address as it is encoded
        ("n000129", "looks like the number of a class"),
        ("P01", "looks like the number of a class"),
        ("/a/airfield", "holds signs that no name does"),
        ("b/bakery/shop", "holds signs that no name does"),
        ("grizzly+bear", "holds signs that no name does"),
        ("black%20bear", "holds signs that no name does"),
    ],
)
def test_a_name_that_may_mean_nothing_is_doubtful(label, reason):
    assert doubts(prompt_names([label, "zebra"], {}), {}) == {label: reason}


def test_names_of_models_words_and_other_scripts_are_not_doubtful():
    labels = [
        "737-200",
        "A310",
        "C-130",
        "F/A-18",
        "ATR-72",
        "C++",
        "2012 Audi S5",
        "3D printer",
        "sky",
        "dik-diks",
        "facade",
        "梅",
        "Ørsted",
    ]
    assert doubts(prompt_names(labels, {}), {}) == {}


def test_names_that_all_begin_with_a_number_of_their_own_are_doubtful():
    assert set(doubts(prompt_names(["0_cat", "1_dog"], {}), {}).values()) == {"begins with a running number"}
    assert doubts(prompt_names(["2012 Audi S5", "2012 Audi S4"], {}), {}) == {}


def test_what_a_person_gave_is_the_name_and_is_not_doubted():
    names = prompt_names(["7", "8"], {"7": "T 34"})
    assert names == {"7": "T 34", "8": "8"}
    assert set(doubts(names, {"7": "T 34"})) == {"8"}


@pytest.mark.parametrize("other", ["Zebra finch", "zebra-finch", "zebra finch!"])
def test_names_that_differ_only_in_case_or_punctuation_are_doubtful_whoever_gave_them(other):
    given = {"b": other}
    assert set(doubts(prompt_names(["zebra finch", "b"], given), given)) == {"zebra finch", "b"}
