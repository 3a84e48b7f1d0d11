package train_test

import (
	"github.com/iotsense/iotsense/pkg/model/cnn"
	"github.com/iotsense/iotsense/pkg/model/cnn/learn"
	"github.com/iotsense/iotsense/pkg/model/train"
)

func init() {
	train.PaperDesign = func(kernel1 int) train.Design {
		a := cnn.DefaultArchitecture(5)
		a.Kernel1 = kernel1
		return learn.Design{Arch: a}
	}
}
