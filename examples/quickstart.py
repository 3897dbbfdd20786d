"""Learn from tiles without labels, train with 5 % of the labels, fuse image and place."""

import torch

import geocsp
from geocsp.data.named.bluemarble import bluemarble
from geocsp.evaluate import Shot
from geocsp.fusion import Support, fit_guarded_fusion
from geocsp.images import EfficientNetLite0, extract
from geocsp.presets import BEST

data = bluemarble(points=4000)
features = extract(EfficientNetLite0(pixels=64), data)
places = torch.from_numpy(data.lonlat).float()
labels = torch.from_numpy(data.tasks["landcover"].labels)
names = data.tasks["landcover"].class_names
split = data.split(test_fold=1)
train, held, test = map(torch.from_numpy, (split.train, split.validation, split.test))
held, test = held[labels[held] >= 0], test[labels[test] >= 0]

model = BEST.build_model(features.shape[1], seed=0)  # no labels so far
model.standardise_by(features[train])
objective = BEST.build_objective(seed=0)
geocsp.pretrain(model, objective, features[train], places[train], BEST.pretrain, seed=0)

few = train[Shot(ratio=0.05).rows(labels[train].numpy(), seed=0)]
images = model.embed_images(features)
head = geocsp.train_image_head(
    images[few], labels[few], len(names), penalty=100.0, unlabelled=images[train]
)
said = head.logits(images).log_softmax(dim=1)

shown = torch.full_like(labels, -1).index_copy(0, few, labels[few])  # -1 = no label
teacher = geocsp.ImageTeacher(said[train], said[held], places[held], labels[held])
prior = geocsp.train_prior(
    BEST, names, places[train], shown[train], seed=0, pretrained=model, teacher=teacher
)

support, scores = Support(places[few]), prior.class_scores(places[held])
fusion = fit_guarded_fusion(said[held], scores, labels[held], places[held], support)
image = said[test].exp()
fused = geocsp.fuse(image, prior, places[test], fusion)
for name, answer in (("image", image), ("image and place", fused)):
    accuracy = (answer.argmax(dim=1) == labels[test]).double().mean()
    print(f"{name}: {accuracy:.1%} of {len(test)} test tiles with {len(few)} labels")
